"""Steps without an exact builder: skl2onnx converts them, in double where ONNX Runtime loads that, else in float32.

Only the step itself: what is before and after it is still ours, so that strings, nulls and labels stay exact.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import onnxruntime  # only to find out which graph it loads: rows are scored in model_store/model.py
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from model_store.convert.graph import ELEMENT, ML, ML_OPSET, OPSET, GraphWriter
from model_store.convert.sklearn.features import Blocks, Numbers, Table, Texts, dense, merge
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step

_LOAD_ERRORS = tuple(
    error
    for error in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    if isinstance(error, type) and issubclass(error, Exception)
)


def transform(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a transformer of numbers."""
    if not hasattr(step.model, "transform"):
        raise step.refuse("is not a transformer of scikit-learn: leave it out of the pipeline")
    features = _features(step, blocks, graph)
    outputs = _graft(step, features, graph, {})
    if len(outputs) != 1:
        raise step.refuse("has no converter: replace it by a transformer that docs/models.md lists")
    return (Numbers(graph.cast(outputs[0], TensorProto.DOUBLE), _width_after(step, features.width)),)


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a regressor."""
    prediction, *_ = _graft(step, _features(step, blocks, graph), graph, {})
    return Answer(graph.flat(graph.cast(prediction, TensorProto.DOUBLE)))


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a classifier; its own rule picks the label, which need not be the one of the highest probability."""
    outputs = Outputs.of(step)
    label, scores, *_ = _graft(step, _features(step, blocks, graph), graph, {"zipmap": False})
    label = graph.flat(graph.cast(label, ELEMENT[outputs.label_type]))
    scores = graph.cast(scores, TensorProto.DOUBLE)
    if outputs.binary:  # it gives two columns for two classes, scores of a decision function as well
        scores = Numbers(scores, 2).select(graph, [1]).tensor
    return Answer(label, scores, named=True)


def _features(step: Step, blocks: Blocks, graph: GraphWriter) -> Numbers:
    """Compute all columns as one tensor, which is all that skl2onnx is given."""
    numeric: list[Numbers | Table] = []
    for block in merge(graph, blocks):
        if isinstance(block, Texts):
            raise step.refuse(
                f"has no converter for the text column {block.name!r}: encode it with a OneHotEncoder, an "
                "OrdinalEncoder or a TargetEncoder",
                column=block.name,
            )
        numeric.append(block)
    return Numbers(dense(graph, numeric), sum(block.width for block in numeric))


def _graft(step: Step, features: Numbers, graph: GraphWriter, options: Mapping[str, object]) -> list[str]:
    """Convert the step and copy its graph into ours, fed by `features`."""
    for tensor_type in (DoubleTensorType, FloatTensorType):
        model = _convert(step, tensor_type([None, features.width]), options)
        if model is not None and _loads(model):
            element = model.graph.input[0].type.tensor_type.elem_type
            graph.stock_steps.append(str(step))
            return graph.graft(model, {model.graph.input[0].name: graph.cast(features.tensor, element)})
    raise step.refuse("is converted by skl2onnx to a graph that ONNX Runtime does not load: use another estimator")


def _convert(step: Step, features: Any, options: Mapping[str, object]) -> onnx.ModelProto | None:
    """Convert with skl2onnx, or return None if this type of number is the trouble."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: onnx.ModelProto = convert_sklearn(
                step.model,
                initial_types=[("features", features)],
                options={id(step.model): dict(options)} if options else None,
                target_opset={"": OPSET, ML: 3},
            )
    except RuntimeError as error:
        if isinstance(features, DoubleTensorType) and not type(error).__name__.startswith("Missing"):
            return None
        raise step.refuse(
            "has no converter: replace it by an estimator or transformer that docs/models.md lists"
        ) from error
    except Exception as error:  # skl2onnx fails in many ways on what it does not know
        raise step.refuse(f"cannot be converted by skl2onnx ({type(error).__name__})") from error
    # It declares the oldest operator sets that its nodes allow; ours has to be the same for the whole graph.
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(ML, _ml_opset(model))])
    return model


def _ml_opset(model: onnx.ModelProto) -> int:
    """Return the newest operator set that has all nodes: the fifth took the old tree operators out."""
    old = any(node.op_type in {"TreeEnsembleClassifier", "TreeEnsembleRegressor"} for node in model.graph.node)
    return ML_OPSET - 1 if old else ML_OPSET


def _loads(model: onnx.ModelProto) -> bool:
    """Try the graph in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a graph that does not load is no news to the user
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS:
        return False
    return True


def _width_after(step: Step, width: int) -> int:
    """Return how many columns a transformer gives."""
    names = step.model.get_feature_names_out if hasattr(step.model, "get_feature_names_out") else None
    return len(names()) if names else width
