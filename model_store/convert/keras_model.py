"""Package Keras models and TensorFlow's SavedModel folders: exported as ONNX by tf2onnx.

A model with one input [N, F] is given the sample's columns in order; one with several inputs, [N] or [N, 1], is
given the columns of their names. Layers that look strings up have no ONNX form in tf2onnx: give their indices, by
`ModelOptions.vocabularies`.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from onnx import helper

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.conversion import Conversion
from model_store.convert.feeds import Feed, Input, match_columns
from model_store.convert.network import Network, convert_network
from model_store.convert.options import ModelOptions
from model_store.convert.sample import read_sample
from model_store.signature import Override

OPSET = 18
"""The newest that tf2onnx writes."""

SIGNATURE = "serving_default"

_CHUNK = 4096
"""Rows that the model is given at a time."""


@dataclass(frozen=True)
class SavedModel:
    """A SavedModel folder, opened."""

    path: Path
    loaded: Any
    """What TensorFlow loaded: it has to live as long as its functions."""
    signature: Any

    def call(self, inputs: Sequence[str], outputs: Sequence[str], tensors: Sequence[Any]) -> list[Any]:
        """Answer with the outputs of these names."""
        answers: dict[str, Any] = self.signature(**dict(zip(inputs, tensors, strict=True)))
        return [answers[name] for name in outputs]  # the order of TensorFlow's own dict changes between processes


def load_model(path: Path) -> object:
    """Load a .keras file or a SavedModel folder; EstimatorInvalidError if it is neither."""
    try:
        with _quiet():
            if not path.is_dir():
                return tf.keras.models.load_model(path, compile=False, safe_mode=True)
            loaded = tf.saved_model.load(str(path))
    except Exception as error:  # both fail in many ways on damaged files and on classes of the user's own
        raise EstimatorInvalidError(
            f"{path.name} cannot be loaded ({type(error).__name__}): save it again with this TensorFlow and Keras, "
            "without layers of Python code"
        ) from error
    if SIGNATURE not in loaded.signatures:
        raise EstimatorInvalidError(
            f"{path.name} has no signature {SIGNATURE!r}: export it with model.export() or give it one"
        )
    return SavedModel(path, loaded, loaded.signatures[SIGNATURE])


def convert_keras(
    model: Any, sample: pd.DataFrame, options: ModelOptions, overrides: Mapping[str, Override]
) -> Conversion:
    """Convert a Keras model or a SavedModel; see `model_store.convert.convert`."""
    table = read_sample(sample, overrides)
    if isinstance(model, SavedModel):
        framework, (inputs, names, call) = "tensorflow", _saved_model(model)
    else:
        framework, (inputs, names, call) = "keras", _keras_model(model)
    if unknown := options.vocabularies.keys() - set(table.column_names):
        raise SampleInvalidError(f"there is no column {min(unknown)!r} in the sample to read by a vocabulary")
    feeds = match_columns(inputs, table.column_names, options.vocabularies, model="the model")
    specs = [
        tf.TensorSpec((None, *given.shape[1:]), given.dtype, name=f"feed_{place}")
        for place, given in enumerate(inputs)
    ]
    function = tf.function(call, input_signature=specs)

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        parts = []
        for start in range(0, len(arrays[0]), _CHUNK):
            tensors = [tf.constant(array[start : start + _CHUNK]) for array in arrays]
            parts.append([_array(tensor) for tensor in function(*tensors)])
        return [np.concatenate(tensors) if len(tensors) > 1 else tensors[0] for tensors in zip(*parts, strict=True)]

    used = ("keras", "numpy", "onnx", "pandas", "tensorflow", "tf2onnx")
    network = Network(
        framework=framework,
        versions={name: _version(name) for name in used},
        feeds=feeds,
        run=run,
        export=lambda: _export(function, specs, feeds),
        output_names=tuple(names),
    )
    return convert_network(network, table, options, overrides)


def _keras_model(model: Any) -> tuple[list[Input], list[str], Callable[..., list[Any]]]:
    """Return a model's inputs, its outputs' names and its function, from tensors to tensors in those orders."""
    import keras  # noqa: PLC0415 - what tf.keras is, with the parts that it hides

    if keras.backend.backend() != "tensorflow":
        raise EstimatorInvalidError(
            f"Keras runs on {keras.backend.backend()} here, and models are exported from TensorFlow: save the "
            "model as .keras and package it with KERAS_BACKEND=tensorflow"
        )
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise EstimatorInvalidError(
            f"the {type(model).__name__} does not know its inputs: build it with keras.Input, as a Sequential or "
            "functional model"
        )
    inputs = [Input(i.name, np.dtype(_NUMPY.get(i.dtype, i.dtype)), tuple(i.shape)) for i in model.inputs]
    structure = model.input if len(inputs) > 1 else None
    count = len(keras.tree.flatten(model.outputs))
    known = list(getattr(model, "output_names", []))  # a Sequential has none
    names = known if len(known) == count else [f"output_{place}" for place in range(count)]

    def call(*tensors: Any) -> list[Any]:
        given = tensors[0] if structure is None else keras.tree.pack_sequence_as(structure, list(tensors))
        answers: list[Any] = keras.tree.flatten(model(given, training=False))
        return answers

    return inputs, names, call


def _saved_model(model: SavedModel) -> tuple[list[Input], list[str], Callable[..., list[Any]]]:
    """Return a SavedModel's inputs, its outputs' names and its function between tensors in those orders."""
    specs = model.signature.structured_input_signature[1]
    given, names = sorted(specs), sorted(model.signature.structured_outputs)
    inputs = [
        Input(name, np.dtype(specs[name].dtype.as_numpy_dtype), tuple(specs[name].shape.as_list()))
        for name in given
    ]
    return inputs, names, lambda *tensors: model.call(given, names, tensors)


def _export(function: Any, specs: Sequence[Any], feeds: Sequence[Feed]) -> onnx.ModelProto:
    """Export a function; EstimatorInvalidError names the operators that have no ONNX form."""
    model: onnx.ModelProto
    with _quiet():
        try:
            model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
        except Exception as error:  # tf2onnx fails in many ways
            reason = str(error).strip().splitlines()
            raise EstimatorInvalidError(
                f"the model has no ONNX form: {type(error).__name__}: {reason[0][:300] if reason else ''}"
            ) from error
    # What it does not know, tf2onnx leaves as it is.
    unknown = {node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)}
    if unknown:
        raise EstimatorInvalidError(
            f"the model has no ONNX form: tf2onnx does not know the operators {', '.join(sorted(unknown))}; what "
            "looks strings up belongs into a vocabulary, others have to be replaced"
        )
    # tf2onnx names inputs as TensorFlow does, with ":0".
    places = {tensor.name.partition(":")[0]: tensor for tensor in model.graph.input}
    links = []
    for place, feed in enumerate(feeds):
        tensor = places[f"feed_{place}"]
        links.append(helper.make_node("Identity", [feed.name], [tensor.name]))
        tensor.name = feed.name
    nodes = [*links, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow and its exporter say of themselves off the terminal."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorFlow's own use of NumPy
            yield
    finally:
        logger.setLevel(level)


def _array(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.numpy()
    return array


def _version(name: str) -> str:
    return str(tf.__version__) if name == "tensorflow" else version(name)  # tensorflow-cpu is it as well


_NUMPY = {"string": "object"}
