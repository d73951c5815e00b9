"""MLflow's way: `mlflow.pyfunc` loads a model folder of either flavor and is given a DataFrame.

python mlflow_pyfunc.py SOURCE TARGET FOLDER KEEP     # KEEP: id or all
"""

import sys

import mlflow.pyfunc
import pandas as pd

NULL = "\uffffnull\uffff"  # the text that the graph takes for a null

source, target, folder, keep = sys.argv[1:]
parquet = source.endswith(".parquet")
model = mlflow.pyfunc.load_model(folder)
loader = model.metadata.flavors["python_function"]["loader_module"]
rows = pd.read_parquet(source) if parquet else pd.read_csv(source)
features = rows[model.metadata.signature.inputs.input_names()]
if loader == "mlflow.onnx":
    # MLflow hands ONNX Runtime what it is given, and that takes neither nulls nor pandas' own texts.
    texts = [column.name for column in model.metadata.signature.inputs.inputs if column.type.name == "string"]
    features = features.assign(**{name: features[name].astype(object).fillna(NULL) for name in texts})
answers = model.predict(features)
result = rows if keep == "all" else rows[["id"]].copy()
if loader == "mlflow.sklearn":  # written with pyfunc_predict_fn="predict_proba"
    result["prediction"] = ["yes" if yes else "no" for yes in answers[:, 1] > answers[:, 0]]
    result["probability_yes"] = answers[:, 1]
else:
    result["prediction"] = answers["prediction"]
    result["probability_yes"] = answers["probability_yes"]
if parquet:
    result.to_parquet(target, index=False)
else:
    result.to_csv(target, index=False)
