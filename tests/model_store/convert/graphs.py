"""ONNX files as other people make them: with one tensor for all columns, with a ZipMap, with a fixed batch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING
WEIGHTS = np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5], [0.01, 0.02, 0.03]])


def save(path: Path, nodes: Any, inputs: Any, outputs: Any, weights: Any = (), **options: Any) -> Path:
    """Write a graph; inputs and outputs are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info(*entry) if isinstance(entry, tuple) else entry for entry in inputs],
        [helper.make_tensor_value_info(*entry) if isinstance(entry, tuple) else entry for entry in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(weights).items()],
    )
    opsets = [helper.make_opsetid(d, v) for d, v in options.get("opsets", {"": 13, "ai.onnx.ml": 2}).items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=options.get("ir", 8))
    model.doc_string = "made on somebody's machine"
    onnx.save(model, path)
    return path


def matrix(path: Path, *, batch: Any = "rows", element: int = FLOAT, outputs: int = 3, **options: Any) -> Path:
    """Write a graph from one tensor [batch, 3] to its product with WEIGHTS, [batch, outputs]."""
    weights = {"w": WEIGHTS[:, :outputs].astype(helper.tensor_dtype_to_np_dtype(element))}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save(path, nodes, [("x", element, [batch, 3])], [("y", element, [batch, outputs])], weights, **options)


def classifier(path: Path, *, zipmap: bool = True, texts: bool = True, batch: Any = None) -> Path:
    """Write a linear classifier of three classes, of text or int64, as skl2onnx does; a ZipMap gives dicts."""
    labels = {"classlabels_strings": ["a", "b", "c"]} if texts else {"classlabels_ints": [10, 20, 30]}
    keys = {"classlabels_strings": ["a", "b", "c"]} if texts else {"classlabels_int64s": [10, 20, 30]}
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=WEIGHTS.T.ravel().tolist(),
            intercepts=[0.1, 0.0, -0.1],
            multi_class=1,
            post_transform="SOFTMAX",
            **labels,
        ),
        helper.make_node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    outputs: list[Any] = [("label", STRING if texts else INT64, [batch])]
    if zipmap:
        nodes.append(helper.make_node("ZipMap", ["probabilities"], ["zipped"], domain="ai.onnx.ml", **keys))
        mapped = helper.make_map_type_proto(
            STRING if texts else INT64, helper.make_tensor_type_proto(FLOAT, shape=None)
        )
        outputs.append(helper.make_value_info("zipped", helper.make_sequence_type_proto(mapped)))
    else:
        outputs.append(("probabilities", FLOAT, [batch, 3]))
    return save(path, nodes, [("x", FLOAT, [batch, 3])], outputs)


def columns(path: Path) -> Path:
    """Write a graph with a column each of float [N, 1], int64 [N] and string [N, 1], to one number a row."""
    nodes = [
        helper.make_node("Flatten", ["amount"], ["flat"]),
        helper.make_node("Cast", ["visits"], ["number"], to=FLOAT),
        helper.make_node("Unsqueeze", ["number", "axis"], ["tall"]),
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["Rome", "Oslo"],
            values_floats=[1.5, -2.5],
            default_float=0.125,
        ),
        helper.make_node("Sum", ["flat", "tall", "code"], ["total"]),
    ]
    inputs = [("amount", FLOAT, ["n", 1]), ("visits", INT64, ["n"]), ("city", STRING, ["n", 1])]
    return save(path, nodes, inputs, [("total", FLOAT, ["n", 1])], {"axis": np.array([1])})
