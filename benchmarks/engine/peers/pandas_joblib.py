"""What people write today: pandas reads, the pickled pipeline scores, pandas writes.

python pandas_joblib.py SOURCE TARGET MODEL.joblib KEEP     # KEEP: id or all
"""

import sys

import joblib
import pandas as pd

source, target, model_file, keep = sys.argv[1:]
parquet = source.endswith(".parquet")
model = joblib.load(model_file)
rows = pd.read_parquet(source) if parquet else pd.read_csv(source)
# Once, not predict and predict_proba one after the other: that would take nearly twice as long.
probabilities = model.predict_proba(rows[list(model.feature_names_in_)])
result = rows if keep == "all" else rows[["id"]].copy()
result["prediction"] = model.classes_[probabilities.argmax(axis=1)]
result["probability_yes"] = probabilities[:, 1]
if parquet:
    result.to_parquet(target, index=False)
else:
    result.to_csv(target, index=False)
