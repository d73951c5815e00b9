"""PyTorch modules become packages that answer as they do."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from errors import EstimatorInvalidError, SampleInvalidError
from model_store import Meaning, ModelOptions, Vocabulary, package
from model_store.convert import convert, load_estimator
from model_store.model import Model
from model_store.signature import ColumnType

ROOT = Path(__file__).parents[2]
CITIES = ("Bern", "Oslo", "Rome")


class Layers(nn.Module):
    """Takes all columns as one tensor; its own preprocessing fills nulls and scales."""

    def __init__(self, outputs=1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, outputs)
        )
        self.register_buffer("mean", torch.tensor([40.0, 4.0, 0.5]))

    def forward(self, rows):
        """Answer [N, outputs]."""
        return self.layers((torch.where(torch.isnan(rows), self.mean, rows) - self.mean) / 10)


class Columns(nn.Module):
    """Takes each column by its name: text by a vocabulary, a boolean, a whole number, a number."""

    def __init__(self):
        super().__init__()
        self.cities = nn.Embedding(5, 4)
        self.visits = nn.Embedding(10, 2)
        self.out = nn.Linear(8, 3)

    def forward(self, city, member, visits, age):
        """Answer [N, 3]."""
        numbers = torch.stack([torch.nan_to_num(age, 40.0) / 40, member.float()], dim=1)
        return self.out(torch.cat([self.cities(city), self.visits(visits.clamp(0, 9)), numbers], dim=1))


class Pair(nn.Module):
    """Takes two columns that are named otherwise than its parameters."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, first, second):
        """Answer [N], in double."""
        return first * self.weight - second


def rows(count=600, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"age": random.normal(40, 9, count), "visits": random.integers(0, 9, count), "spent": random.random(count)}
    )
    frame.loc[random.random(count) < 0.1, "age"] = np.nan
    return frame


def people(count=600, seed=0):
    random = np.random.default_rng(seed)
    frame = rows(count, seed).drop(columns="spent")
    frame["member"] = random.random(count) < 0.5
    frame["city"] = random.choice([*CITIES, "Atlantis", None], count)
    return frame


def seeded(kind, *arguments):
    torch.manual_seed(7)
    module = kind(*arguments)
    for layer in module.modules():  # statistics as after training
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module


def served(module, frame, folder, **options):
    package(module, frame, folder, options=ModelOptions(**options))
    return Model.open(folder)


def batch_of(model, frame):
    return pa.RecordBatch.from_pandas(frame, schema=model.signature.input_schema, preserve_index=False)


VOCABULARIES = {"city": Vocabulary(CITIES, unseen=3, null=4)}


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Return a module in training mode, and its package as it is served."""
    module = seeded(Layers)
    return module, served(module, rows(), tmp_path_factory.mktemp("layers") / "package")


@pytest.mark.parametrize("count", [1, 2, 7, 4096, 5000])
def test_all_columns_as_one_tensor(layers, count):
    """Any number of rows is answered as the module answers it, nulls by the module's own code; in eval mode."""
    module, model = layers
    assert module.training
    assert [(c.name, c.type, c.nullable) for c in model.signature.inputs] == [
        (name, ColumnType.DOUBLE, True) for name in ("age", "visits", "spent")
    ]
    frame = rows(count, 1)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(frame.to_numpy(np.float32)))[:, 0].numpy()
    module.train()
    assert model.predict(batch_of(model, frame))["prediction"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert model.metadata.parity.max_abs_difference < 1e-5
    assert model.metadata.framework == "torch"


@pytest.mark.parametrize(
    ("outputs", "labels", "columns"),
    [
        (1, ("no", "yes"), ["prediction", "probability_yes"]),
        (2, (False, True), ["prediction", "probability_true"]),
        (3, (1, 2, 3), ["prediction", "probability_1", "probability_2", "probability_3"]),
    ],
)
def test_logits_become_probabilities_of_labels(tmp_path, outputs, labels, columns):
    """By softmax, or by sigmoid for one number; the labels are the user's own values."""
    module = seeded(Layers, outputs)
    model = served(module, rows(), tmp_path / "package", labels=labels, meaning=Meaning.LOGITS)
    assert model.metadata.labels == labels
    frame = rows(500, 2)
    answers = model.predict(batch_of(model, frame))
    assert answers.schema.names == columns
    with torch.no_grad():
        logits = module.eval()(torch.from_numpy(frame.to_numpy(np.float32)))
    shares = torch.sigmoid(logits) if outputs == 1 else torch.softmax(logits, dim=1)
    places = (logits[:, 0] > 0).long() if outputs == 1 else logits.argmax(dim=1)
    assert answers["prediction"].to_pylist() == [labels[place] for place in places.tolist()]
    assert answers[columns[-1]].to_numpy() == pytest.approx(shares[:, -1].numpy(), abs=1e-5)
    assert model.metadata.parity.label_flips == 0


def test_several_numbers_without_labels(tmp_path):
    """A module of several targets gives a column for each."""
    model = served(seeded(Layers, 2), rows(), tmp_path / "package")
    assert [c.name for c in model.signature.outputs] == ["prediction_0", "prediction_1"]


def test_a_parameter_for_each_column(tmp_path):
    """Columns go by name, each in its own type; texts, unseen ones and nulls become the vocabulary's indices."""
    module = seeded(Columns)
    sample = people()[["age", "city", "member", "visits"]]
    model = served(
        module, sample, tmp_path / "package", labels=("a", "b", "c"), meaning="logits", vocabularies=VOCABULARIES
    )
    assert [(c.name, c.type, c.nullable) for c in model.signature.inputs] == [
        ("city", ColumnType.STRING, True),
        ("member", ColumnType.BOOLEAN, False),
        ("visits", ColumnType.LONG, False),
        ("age", ColumnType.DOUBLE, True),
    ]
    assert model.metadata.parity.refused == ()
    frame = people(300, 3)
    frame.loc[::10, "city"] = "nan"
    index = {"Bern": 0, "Oslo": 1, "Rome": 2, "Atlantis": 3, "nan": 3}
    codes = [index.get(city, 4) if isinstance(city, str) else 4 for city in frame["city"]]
    with torch.no_grad():
        logits = module.eval()(
            torch.tensor(codes),
            torch.tensor(frame["member"].tolist()),
            torch.tensor(frame["visits"].tolist()),
            torch.tensor(frame["age"].tolist()),
        )
    answers = model.predict(batch_of(model, frame))
    expected = torch.softmax(logits.double(), dim=1)[:, 2].numpy()
    assert answers["probability_c"].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_double_modules_answer_to_the_last_bits(tmp_path):
    """Parameters with other names are given the columns in order; a double module computes in double."""
    frame = pd.DataFrame({"a": np.linspace(-3, 3, 50), "b": np.linspace(0, 1, 50) ** 3})
    model = served(Pair(), frame, tmp_path / "package")
    assert model.metadata.parity.max_abs_difference == 0.0
    expected = (frame["a"] * 2 - frame["b"]).tolist()
    assert model.predict(batch_of(model, frame))["prediction"].to_pylist() == expected


def test_bytes_do_not_depend_on_the_process(tmp_path):
    """Packaging the same module again is the same version; no path of this machine is in the graph."""
    script = tmp_path / "hash.py"
    script.write_text(
        "import hashlib\n"
        "from model_store.convert import convert\n"
        "from tests.frameworks.test_torch import Layers, rows, seeded\n"
        "graph = convert(seeded(Layers, 2), rows()).graph\n"
        "assert b'tests' not in graph and b'pkg.torch' not in graph\n"
        "print(hashlib.sha256(graph).hexdigest())\n"
    )
    run = [
        subprocess.run(
            [sys.executable, script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[-1]
        for seed in ("1", "2")
    ]
    assert run[0] == run[1] == hashlib.sha256(convert(seeded(Layers, 2), rows()).graph).hexdigest()


class Bessel(Layers):
    """Uses an operator that has no ONNX form."""

    def forward(self, rows):
        """Answer [N, 1]."""
        return torch.special.bessel_j0(super().forward(rows))


class Branching(Layers):
    """Does something else for some rows, in Python."""

    def forward(self, rows):
        """Answer [N, 1]."""
        return super().forward(rows) if rows[0, 0] > 40 else super().forward(-rows)


class Centred(Layers):
    """Answers relative to the other rows."""

    def forward(self, rows):
        """Answer [N, 1]."""
        answer = super().forward(rows)
        return answer - answer.mean(dim=0)


class Whole(Layers):
    """Answers once for all rows."""

    def forward(self, rows):
        """Answer []."""
        return super().forward(rows).mean()


class Several(Layers):
    """Returns a tuple."""

    def forward(self, rows):
        """Answer two tensors."""
        return super().forward(rows), rows


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Bessel, "bessel_j0"),
        (Branching, "depends on the rows beside it|torch.where"),
        (Centred, "depends on the rows beside it"),
        (Whole, "one answer a row"),
        (Several, "returns a tuple"),
        (lambda: Layers().half(), "torch.float16"),
    ],
)
def test_modules_that_cannot_be_served_say_why(tmp_path, kind, says):
    """An operator without ONNX form is named; answers that are not one a row are refused; nothing is left."""
    with pytest.raises(EstimatorInvalidError, match=says):
        package(kind(), rows(), tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "sample", "options", "says"),
    [
        (Layers(), rows().drop(columns="age"), {}, "fails on rows of the sample"),
        (Layers(), people(), {}, "'city' of the sample is text"),
        (Columns(), people(), {}, "pass a vocabulary"),
        (Columns(), people()[["age", "city"]], {"vocabularies": VOCABULARIES}, "takes 4 tensors"),
        (Layers(), rows(), {"vocabularies": VOCABULARIES}, "no column 'city'"),
    ],
)
def test_samples_that_do_not_fit_say_where(module, sample, options, says):
    """The column or the number of columns is named."""
    with pytest.raises(SampleInvalidError, match=says):
        convert(module, sample, options=ModelOptions(**options))


def test_files_of_modules_are_loaded_with_trust(tmp_path, monkeypatch):
    """torch.save writes pickles, and torch.export's archives may hold some: both need the user's word."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    module = seeded(Layers).eval()
    torch.save(module, tmp_path / "model.pt")
    shape = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(
        torch.export.export(module, (torch.zeros(3, 3),), dynamic_shapes=shape), tmp_path / "model.pt2"
    )
    expected = served(module, rows(), tmp_path / "package")
    for name in ("model.pt", "model.pt2"):
        with pytest.raises(EstimatorInvalidError, match="--trust-pickle"):
            load_estimator(tmp_path / name, trust_pickle=False)
        model = served(load_estimator(tmp_path / name, trust_pickle=True), rows(), tmp_path / f"{name}-package")
        batch = batch_of(model, rows(50, 5))
        wanted = expected.predict(batch)["prediction"].to_numpy()
        assert model.predict(batch)["prediction"].to_numpy() == pytest.approx(wanted, abs=1e-6)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(EstimatorInvalidError, match="holds a OrderedDict and no module"):
        load_estimator(tmp_path / "weights.pt", trust_pickle=True)
    (tmp_path / "cut.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:900])
    with pytest.raises(EstimatorInvalidError, match="cannot be loaded"):
        load_estimator(tmp_path / "cut.pt", trust_pickle=True)


@pytest.mark.filterwarnings("ignore")  # MLflow warns of itself
@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_the_pytorch_flavor_of_mlflow(tmp_path, form):
    """A folder that real MLflow wrote, in either of its forms."""
    import mlflow

    module = seeded(Layers).eval()
    example = rows(6).fillna(40.0).to_numpy(np.float32)
    mlflow.pytorch.save_model(
        module,
        str(tmp_path / "saved"),
        serialization_format=form,
        pip_requirements=["torch"],
        input_example=example,
        signature=mlflow.models.infer_signature(example, module(torch.from_numpy(example)).detach().numpy()),
    )
    model = served(load_estimator(tmp_path / "saved", trust_pickle=True), rows(), tmp_path / "package")
    with torch.no_grad():
        expected = module(torch.from_numpy(rows(50, 5).to_numpy(np.float32)))[:, 0].numpy()
    answers = model.predict(batch_of(model, rows(50, 5)))
    assert answers["prediction"].to_numpy() == pytest.approx(expected, abs=1e-5)
