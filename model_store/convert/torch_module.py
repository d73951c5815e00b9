"""Package a PyTorch module: exported as ONNX by torch itself, between the columns of a table.

The contract of `forward`: with one parameter it is given all columns as one tensor [N, columns]; with more, each
is given the column of its name (or, if no names fit, of its place) as [N]. Numbers with a fraction are of the
module's own floating type, whole numbers int64, booleans bool in a column of their own, strings int64 by
`ModelOptions.vocabularies`. What is computed before and after the layers belongs into `forward`: so it is in the
graph.
"""

import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.conversion import Conversion
from model_store.convert.feeds import Feed
from model_store.convert.network import Network, convert_network
from model_store.convert.options import ModelOptions
from model_store.convert.sample import read_sample
from model_store.signature import Override

OPSET = 20
"""What PyTorch's exporter is asked for: its own default, which it tests most."""

_TORCH = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "bool": torch.bool}
_NO_FUNCTION = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")

_CHUNK = 4096
"""Rows that the module is given at a time."""


def convert_torch(
    module: torch.nn.Module, sample: pd.DataFrame, options: ModelOptions, overrides: Mapping[str, Override]
) -> Conversion:
    """Convert a module; see `model_store.convert.convert`."""
    table = read_sample(sample, overrides)
    if unknown := options.vocabularies.keys() - set(table.column_names):
        raise SampleInvalidError(f"there is no column {min(unknown)!r} in the sample to read by a vocabulary")
    feeds = _feeds(module, table, options)

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        parts = [
            _answer(module, [torch.from_numpy(array[start : start + _CHUNK]) for array in arrays])
            for start in range(0, len(arrays[0]), _CHUNK)
        ]
        return [np.concatenate(parts) if len(parts) > 1 else parts[0]]

    network = Network(
        framework="torch",
        versions={name: version(name) for name in ("numpy", "onnx", "onnxscript", "pandas", "torch")},
        feeds=feeds,
        run=run,
        export=lambda: _export(module, feeds),
    )
    return convert_network(network, table, options, overrides)


class Exported(torch.nn.Module):  # type: ignore[misc]  # types are checked where torch is not installed
    """A program of torch.export as a module."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module()
        self.parameter_names = list(program.graph_signature.user_inputs)

    def forward(self, *arguments: torch.Tensor) -> Any:
        """Answer as the program does."""
        return self.program(*arguments)

    def train(self, mode: bool = True) -> "Exported":  # noqa: ARG002, FBT001, FBT002  # PyTorch's parameter
        """Do nothing: a program is what it was when it was exported."""
        return self


def load_module(path: Path) -> torch.nn.Module:
    """Load a module or an exported program, which runs the code in it; EstimatorInvalidError if it is neither."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions: the parity gate compares with what is loaded here
            if path.suffix.lower() == ".pt2":
                return Exported(torch.export.load(path))
            module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling runs code, which can fail in any way
        raise EstimatorInvalidError(
            f"{path.name} cannot be loaded ({type(error).__name__}): load it where the module's class can be "
            "imported, with the versions it was saved with"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise EstimatorInvalidError(
            f"{path.name} holds a {type(module).__name__} and no module: save the whole module, "
            "torch.save(module, path), or package it from Python"
        )
    return module


def _feeds(module: torch.nn.Module, table: pa.Table, options: ModelOptions) -> tuple[Feed, ...]:
    """Match the parameters of `forward` with the sample's columns."""
    names = table.column_names
    parameters = _parameters(module)
    floating = _floating(module)
    if len(parameters) == 1:
        for name in names:
            if pa.types.is_string(table[name].type):
                raise SampleInvalidError(
                    f"column {name!r} of the sample is text, and {type(module).__name__}.forward takes all columns "
                    "as one tensor: give it a parameter for each column, and that column a vocabulary",
                    column=name,
                )
        return (Feed(parameters[0], floating, tuple(names), wide=True),)
    if set(parameters) <= set(names):
        names = parameters
    elif len(parameters) != len(names):
        raise SampleInvalidError(
            f"{type(module).__name__}.forward takes {len(parameters)} tensors ({', '.join(parameters)}), and the "
            f"sample has {len(names)} columns: pass those that it takes, without the label"
        )
    feeds = []
    for parameter, name in zip(parameters, names, strict=True):
        kind, vocabulary = table[name].type, options.vocabularies.get(name)
        if pa.types.is_string(kind) and vocabulary is None:
            raise SampleInvalidError(
                f"column {name!r} of the sample is text, and modules take numbers: pass a vocabulary for it, "
                f"options=ModelOptions(vocabularies={{{name!r}: Vocabulary(…)}})",
                column=name,
            )
        whole = vocabulary is not None or pa.types.is_integer(kind)
        dtype = np.dtype(np.int64) if whole else np.dtype(np.bool_) if pa.types.is_boolean(kind) else floating
        feeds.append(Feed(parameter, dtype, (name,), wide=False, vocabulary=vocabulary))
    return tuple(feeds)


def _parameters(module: torch.nn.Module) -> list[str]:
    """Return the parameters of `forward` that have to be given."""
    if isinstance(module, Exported):
        return module.parameter_names
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    if not names:
        raise EstimatorInvalidError(
            f"{type(module).__name__}.forward has no parameter without a default: name what it takes"
        )
    return names


def _floating(module: torch.nn.Module) -> np.dtype[Any]:
    """Return the floating type that a module computes in."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype in {torch.float32, torch.float64}:
            return np.dtype(np.float64 if tensor.dtype is torch.float64 else np.float32)
        if tensor.dtype.is_floating_point:
            raise EstimatorInvalidError(
                f"the {type(module).__name__} computes in {tensor.dtype}: call its float() first, and see that it "
                "still answers well"
            )
    return np.dtype(np.float32)


@contextmanager
def _as_served(module: torch.nn.Module) -> Iterator[None]:
    """Run a module without dropout and with the statistics that training left; then leave it as it was."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes.items():
            layer.training = training


def _answer(module: torch.nn.Module, arguments: Sequence[torch.Tensor]) -> NDArray[Any]:
    with _as_served(module), torch.no_grad():
        answer = module(*arguments)
    if not isinstance(answer, torch.Tensor):
        raise EstimatorInvalidError(
            f"{type(module).__name__}.forward returns a {type(answer).__name__}: return one tensor, [N] or [N, k]"
        )
    array: NDArray[Any] = answer.numpy()
    return array


def _export(module: torch.nn.Module, feeds: Sequence[Feed]) -> onnx.ModelProto:
    """Export a module with any number of rows; EstimatorInvalidError names the operator that has no ONNX form."""
    arguments = tuple(
        torch.zeros((3, len(feed.columns)) if feed.wide else (3,), dtype=_TORCH[feed.dtype.name]) for feed in feeds
    )
    rows: tuple[Any, ...] = ({0: torch.export.Dim.DYNAMIC},) * len(feeds)
    if isinstance(module, Exported):
        rows = (rows,)  # its forward() takes any number of tensors, which is one tuple to torch
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)  # warnings of operators that other libraries would bring
        with _as_served(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                arguments,
                dynamo=True,
                dynamic_shapes=rows,
                opset_version=OPSET,
                input_names=[feed.name for feed in feeds],
                verbose=False,
            )
    except ImportError as error:
        raise EstimatorInvalidError(
            f"exporting PyTorch modules needs the module {error.name!r}: install onnxscript"
        ) from error
    except Exception as error:  # the exporter fails in many ways, the reason deep inside
        raise EstimatorInvalidError(f"the {type(module).__name__} has no ONNX form: {_reason(error)}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    if program is None:
        raise EstimatorInvalidError(f"the {type(module).__name__} has no ONNX form")
    model: onnx.ModelProto = program.model_proto
    return model


def _reason(error: BaseException) -> str:
    """Say in one line what stood in the exporter's way."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if found := _NO_FUNCTION.search(text):
        return f"its operator {found[1]} has none in torch.onnx: use other operators"
    if "data-dependent" in text:
        return "its forward() decides by the values of rows what it does: write that with torch.where"
    return f"{type(error).__name__}: {(text.strip().splitlines() or [''])[0][:300]}"
