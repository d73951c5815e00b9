"""The models of docs/models.md that are no scikit-learn estimators: networks, graphs and folders of other tools.

Each function trains one on the numbers of made rows and returns what `model_store.convert.convert` takes, with the
rows. They run in the environments that `make test-frameworks` makes.
"""

from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from benchmarks import rows as data

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("no", "yes")
STEPS = 150


def _numbers(count: int) -> "tuple[pd.DataFrame, Any, Any]":
    """Return rows, the same as an array without nulls, and the place of each row's label."""
    rows = data.training_rows(count)
    numbers = rows[data.NUMBERS]
    return numbers, numbers.fillna(0.0).to_numpy("float32"), (data.two_classes(rows) == "yes").astype("int64")


def torch_module(count: int) -> "tuple[Any, pd.DataFrame]":
    """Train a PyTorch module that fills nulls and scales inside, and gives logits."""
    import torch  # noqa: PLC0415  # only in its own environment
    from torch import nn  # noqa: PLC0415  # as above

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, rows: Any) -> Any:
            return self.layers(torch.nan_to_num(rows, 0.0))

    torch.manual_seed(0)
    rows, array, places = _numbers(count)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(torch.from_numpy(array)), torch.from_numpy(places))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval(), rows


def keras_model(count: int) -> "tuple[Any, pd.DataFrame]":
    """Train a Keras model that gives probabilities."""
    import keras  # noqa: PLC0415  # only in its own environment

    keras.utils.set_random_seed(0)
    rows, array, places = _numbers(count)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((20,)),
            layers.BatchNormalization(),
            layers.Dense(64, "relu"),
            layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(array, places, epochs=2, batch_size=256, verbose=0)
    return model, rows.fillna(0.0)


def onnx_file(count: int) -> "tuple[Any, pd.DataFrame]":
    """Export a logistic regression with skl2onnx as it does by itself: float32, one tensor, ZipMap."""
    from skl2onnx import to_onnx  # noqa: PLC0415  # slow to import
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  # as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415  # as above
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415  # as above

    from model_store.convert import load_estimator  # noqa: PLC0415  # as above

    rows, array, places = _numbers(count)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(array, places)
    file = Path(mkdtemp()) / "model.onnx"
    file.write_bytes(to_onnx(model, array[:1]).SerializeToString())
    return load_estimator(file, trust_pickle=False), rows.fillna(0.0)


def mlflow_folder(count: int) -> "tuple[Any, pd.DataFrame]":
    """Save a fitted pipeline as MLflow does and load the folder."""
    import mlflow.sklearn  # noqa: PLC0415  # only in its own environment
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415  # slow to import

    from benchmarks.estimators import ordinal  # noqa: PLC0415  # as above
    from model_store.convert import load_estimator  # noqa: PLC0415  # as above

    rows = data.training_rows(count)
    folder = Path(mkdtemp()) / "model"
    model = ordinal(HistGradientBoostingClassifier(max_iter=100)).fit(rows, data.two_classes(rows))
    mlflow.sklearn.save_model(model, folder, input_example=rows.head(), serialization_format="cloudpickle")
    return load_estimator(folder, trust_pickle=True), rows
