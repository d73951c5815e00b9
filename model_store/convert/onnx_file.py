"""Package an ONNX file that somebody else made: its graph as it is, between the columns of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # the source to compare with is the file itself, run as it is
import pandas as pd
from numpy.typing import NDArray
from onnx import helper

from errors import EstimatorInvalidError, PackageInvalidError
from model_store.convert.conversion import Conversion
from model_store.convert.embedding import open_inputs
from model_store.convert.feeds import Feed, Input, match_columns
from model_store.convert.network import Network, convert_network
from model_store.convert.options import ModelOptions
from model_store.convert.sample import read_sample
from model_store.graph_check import check_graph
from model_store.signature import Override

OLDEST_OPSET = 7
"""The oldest operator set that ONNX Runtime promises to run."""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file, checked to be one that can be taken in."""

    path: Path
    model: onnx.ModelProto
    """Without the ZipMap nodes, which turn probabilities into dictionaries."""
    labels: tuple[object, ...]
    """As the graph itself names them; () if it does not."""

    @classmethod
    def open(cls, path: Path) -> "OnnxFile":
        """Read and check the file; EstimatorInvalidError says what is wrong with it."""
        try:
            check_graph(path)
            model = onnx.load(path, load_external_data=False)
            _check_opsets(path.name, model)
            onnx.checker.check_model(model)
        except FileNotFoundError as error:
            raise EstimatorInvalidError(f"{path} does not exist") from error
        except PackageInvalidError as error:  # the words fit, the code would blame a package
            raise EstimatorInvalidError(error.message) from error
        except onnx.checker.ValidationError as error:
            raise EstimatorInvalidError(
                f"{path.name} is no valid ONNX graph: {str(error).strip().splitlines()[0][:300]}"
            ) from error
        except EstimatorInvalidError:
            raise
        except Exception as error:  # protobuf's errors share no base class
            raise EstimatorInvalidError(f"{path.name} is damaged or no ONNX graph") from error
        if model.graph.sparse_initializer:
            raise EstimatorInvalidError(f"{path.name} has sparse weights: save it with dense ones")
        labels = _labels(model)
        _remove_zipmaps(path.name, model)
        return cls(path, model, labels)


def convert_onnx(
    file: OnnxFile, sample: pd.DataFrame, options: ModelOptions, overrides: Mapping[str, Override]
) -> Conversion:
    """Convert an ONNX file; see `model_store.convert.convert`.

    Its inputs are columns, [N] or [N, 1] each and named as the sample's columns, or one tensor [N, F], whose
    columns are then the sample's, in order.
    """
    if options.vocabularies:
        raise EstimatorInvalidError("vocabularies are for PyTorch modules: an ONNX graph looks its texts up itself")
    table = read_sample(sample, overrides)
    session = _open(file)
    inputs = [Input(tensor.name, _dtype(tensor), tuple(_shape(tensor))) for tensor in open_inputs(file.model)]
    feeds = match_columns(inputs, table.column_names, {}, model=file.path.name)
    model, batch = file.model, _fixed_batch(file)
    if batch is not None:
        model = _any_batch(model)
    outputs = [output.name for output in file.model.graph.output]
    network = Network(
        framework="onnx",
        versions={name: version(name) for name in ("numpy", "onnx", "onnxruntime", "pandas")},
        feeds=feeds,
        run=_runner(session, feeds, batch, file.labels),
        export=lambda: model,
        output_names=tuple(outputs),
    )
    return convert_network(network, table, replace(options, labels=options.labels or file.labels), overrides)


def _check_opsets(name: str, model: onnx.ModelProto) -> None:
    known = onnx.defs.onnx_opset_version()
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None and any(node.domain in {"", "ai.onnx"} for node in model.graph.node):
        raise EstimatorInvalidError(f"{name} names no operator set: export it again")
    if opset is not None and not OLDEST_OPSET <= opset <= known:
        raise EstimatorInvalidError(
            f"{name} uses operator set {opset}, and sets {OLDEST_OPSET} to {known} are run: export it with one of "
            "them, or convert it with onnx.version_converter"
        )


def _open(file: OnnxFile) -> onnxruntime.InferenceSession:
    """Open the original file, nothing of it optimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is said below
    try:
        return onnxruntime.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise EstimatorInvalidError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {file.path.name}: "
            f"{str(error).strip().splitlines()[0][:300]}"
        ) from error


def _shape(tensor: onnx.ValueInfoProto) -> list[int | None]:
    """Return a tensor's dimensions, None for those that are open; [] also if its shape is not known."""
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.type.tensor_type.shape.dim]


def _dtype(tensor: onnx.ValueInfoProto) -> np.dtype[Any]:
    return helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)


def _fixed_batch(file: OnnxFile) -> int | None:
    """Return the number of rows that is built into the inputs' shapes, or None."""
    sizes = {_shape(tensor)[0] for tensor in open_inputs(file.model)}
    if len(sizes) > 1:
        raise EstimatorInvalidError(f"the inputs of {file.path.name} have different numbers of rows: make them one")
    return sizes.pop()


def _any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its number of rows left open; whether that works is seen when it is tried."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for tensor in (*opened.graph.input, *opened.graph.output):
        if tensor.type.tensor_type.shape.dim:
            tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    return opened


def _runner(
    session: onnxruntime.InferenceSession, feeds: Sequence[Feed], batch: int | None, labels: tuple[object, ...]
) -> Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]:
    """Return the function that runs the original file, with as many rows at a time as it takes."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # a row that it refuses is told of by who asked

    def run_once(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        fed = {feed.name: array for feed, array in zip(feeds, arrays, strict=True)}
        return [_array(tensor, labels) for tensor in session.run(None, fed, options)]

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        if batch is None:
            return run_once(arrays)
        rows, parts = len(arrays[0]), []
        for start in range(0, rows, batch):
            places = np.minimum(np.arange(start, start + batch), rows - 1)  # the last row fills the last batch up
            parts.append(run_once([array[places] for array in arrays]))
        return [np.concatenate(tensors)[:rows] for tensors in zip(*parts, strict=True)]

    return run


def _array(tensor: Any, labels: tuple[object, ...]) -> NDArray[Any]:
    """Return an output as an array: a ZipMap's dictionaries as one column a label."""
    if isinstance(tensor, list):
        return np.array([[row[label] for label in labels] for row in tensor], np.float32)
    array: NDArray[Any] = tensor
    return array


def _labels(model: onnx.ModelProto) -> tuple[object, ...]:
    """Return the labels that the graph names, in the order of its probabilities; () if it names none or several."""
    found = set()
    for wanted in ({"ZipMap"}, None):
        for node in model.graph.node:
            if node.domain == "ai.onnx.ml" and (wanted is None or node.op_type in wanted):
                for attribute in node.attribute:
                    if attribute.name in {"classlabels_ints", "classlabels_int64s"} and attribute.ints:
                        found.add(tuple(attribute.ints))
                    elif attribute.name == "classlabels_strings" and attribute.strings:
                        found.add(tuple(text.decode() for text in attribute.strings))
        if found:
            break
    return found.pop() if len(found) == 1 else ()


def _remove_zipmaps(name: str, model: onnx.ModelProto) -> None:
    """Give the probabilities themselves in place of the dictionaries made of them."""
    zipmaps = [node for node in model.graph.node if node.op_type == "ZipMap"]
    for node in zipmaps:
        for output in model.graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
        model.graph.node.remove(node)
    for output in model.graph.output:
        if not output.type.HasField("tensor_type"):
            raise EstimatorInvalidError(f"output {output.name!r} of {name} is no tensor: give [N] or [N, k]")
