"""What a conversion promises as a whole: the same bytes, the pinned operator sets, a null that no data is."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from model_store.convert import NULL_TEXT, convert
from tests.model_store.convert.agreement import assert_agrees, people, rows_of, strangers, three
from tests.model_store.convert.pipelines import scaled

ESTIMATORS = [
    LogisticRegression(),
    RandomForestClassifier(3, max_depth=3, random_state=0),
    GradientBoostingClassifier(n_estimators=3, random_state=0),
    HistGradientBoostingClassifier(max_iter=3),
    CalibratedClassifierCV(RandomForestClassifier(2, max_depth=3, random_state=0), method="isotonic", cv=2),
]


@pytest.fixture(params=ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def model(request):
    frame = people()
    pipeline = scaled(request.param)
    pipeline[0].sparse_threshold = 0
    return pipeline.fit(frame, three(frame))


def test_the_same_estimator_gives_the_same_bytes(model):
    """No name, order or time of its own is in the graph."""
    assert convert(model, people()).graph == convert(model, people(300, 1)).graph


def test_bytes_do_not_depend_on_the_process(tmp_path):
    """Neither does the order of sets and dicts, which differs between processes."""
    script = tmp_path / "hash.py"
    script.write_text(
        "import hashlib\n"
        "from sklearn.decomposition import PCA\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from model_store.convert import convert\n"
        "from tests.model_store.convert.agreement import people, two\n"
        "from tests.model_store.convert.pipelines import scaled\n"
        "frame = people(300)\n"
        "model = scaled(LogisticRegression())\n"
        "model[0].sparse_threshold = 0\n"
        "model.steps.insert(1, ('pca', PCA(3, svd_solver='full')))\n"
        "print(hashlib.sha256(convert(model.fit(frame, two(frame)), frame).graph).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_the_graph_is_valid_and_pinned(model):
    """IR 10 and opset 21 are what ONNX Runtime 1.20 loads; the checker finds nothing to say."""
    graph = onnx.load_model_from_string(convert(model, people()).graph)
    onnx.checker.check_model(graph)
    assert graph.ir_version == 10
    assert {entry.domain: entry.version for entry in graph.opset_import} == {"": 21, "ai.onnx.ml": 5}


def test_a_graph_with_a_stock_step_is_valid_too():
    """The grafted nodes are of the same operator sets as ours."""
    frame = people()
    pipeline = scaled(RandomForestClassifier(3, max_depth=3, random_state=0))
    pipeline[0].sparse_threshold = 0
    pipeline.steps.insert(1, ("pca", PCA(3, random_state=0)))
    graph = onnx.load_model_from_string(convert(pipeline.fit(frame, three(frame)), frame).graph)
    onnx.checker.check_model(graph)


def test_the_source_answers_the_same_every_time():
    """A forest with threads of its own adds up in any order; here it is asked in one."""
    frame = people()
    forest = scaled(RandomForestClassifier(20, max_depth=4, random_state=0, n_jobs=2)).fit(frame, three(frame))
    conversion = convert(forest, frame)
    rows = rows_of(conversion, strangers())
    assert all(conversion.predict(rows).equals(conversion.predict(rows)) for _ in range(3))
    assert_agrees(conversion, strangers(), tolerance=0.0)


def test_onnx_runtime_carries_the_null_text():
    """It goes in and comes out of a graph as it is, and is neither empty nor the text of a null in any file."""
    node = helper.make_node("Identity", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in "xy"]
    graph = helper.make_graph([node], "carry", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (carried,) = session.run(None, {"x": np.array([[NULL_TEXT], [""]], dtype=object)})
    assert carried.ravel().tolist() == [NULL_TEXT, ""]
    assert NULL_TEXT.encode().decode() == NULL_TEXT


def test_importing_the_converters_is_light():
    """A process that serves may import model_store and its contract without any training library."""
    code = (
        "import sys, model_store.convert;"
        "heavy = {'sklearn', 'pandas', 'onnx', 'skl2onnx', 'joblib', 'onnxruntime'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
