"""Derive the graph that serves from the portable one: category codes instead of strings.

Looking strings up is what ONNX Runtime is slow at. Where all that a graph does with a string column is to look it
up in LabelEncoders, only finitely many texts are told apart, and pyarrow finds their places faster. So the input
becomes those places, and each LabelEncoder a table, joined where possible with the table that its answer is looked
up in. Labels that are texts leave the graph as their places among all labels, for the same reason. Nothing else
changes: the answers are the same to the last bit, and packaging proves it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_store.convert.conversion import CodedGraph
from model_store.convert.graph import ML, serialise
from model_store.packages import LABELS_KEY
from model_store.signature import Column, ColumnType, Signature

MAX_CATEGORIES = 100_000
"""A column with more stays a string: its texts travel in the manifest, which every process reads whole."""

_JOINED_BYTES = 1 << 18
"""Two tables become one up to this size; above, only if one is smaller than the two."""

_SHAPING = frozenset({"Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that pass on what their first input holds, whatever its type."""


def encode_strings(graph: bytes, signature: Signature, null_text: str) -> CodedGraph | None:
    """Return the graph with codes for every string column where that is possible, or None where it is for none.

    `graph` is a serialised ModelProto that answers for `signature`; it may come from any converter. A column's
    categories may name more texts than the graph knows.
    """
    model = onnx.ModelProto.FromString(graph)
    coding = _Coding(model.graph, null_text)
    known = {value.name: value for value in model.graph.input}
    categories = {}
    for column in signature.inputs:
        if column.type is ColumnType.STRING and column.name in known:
            texts = coding.column(known[column.name], column)
            if texts is not None:
                categories[column.name] = texts
    if not categories:
        return None
    labels = {
        column.name: found
        for column in signature.outputs
        if column.type is ColumnType.STRING and (found := coding.labels(column.name)) is not None
    }
    if labels:
        model.metadata_props.add(key=LABELS_KEY, value=json.dumps(labels))
    coding.tidy()
    return CodedGraph(serialise(model), categories)


@dataclass(frozen=True)
class _Encoder:
    """A LabelEncoder that reads strings."""

    node: onnx.NodeProto
    meaning: Mapping[str, Any]
    default: NDArray[Any]
    """[1], of the type of the values."""

    @classmethod
    def read(cls, node: onnx.NodeProto) -> "_Encoder | None":
        """Read a node; None if it is none of the forms that ONNX has for strings."""
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        keys = _strings(given, "keys_strings", "keys_tensor", "classes_strings")
        if keys is None:
            return None
        values, default = _values(given, len(keys))
        if len(values) != len(keys):
            return None
        # Of a key that is there twice, the first counts.
        return cls(node, dict(zip(reversed(keys), reversed(values), strict=True)), default)

    def table(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return what each of the texts is looked up as: [texts]."""
        found = [self.meaning.get(text, self.default[0]) for text in texts]
        return np.array(found, dtype=self.default.dtype)


def _strings(given: Mapping[str, Any], *names: str) -> list[str] | None:
    """Return the first of these attributes that is there, as texts; None if it holds none."""
    value = next((given[name] for name in names if name in given), None)
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value).ravel().tolist() if value.data_type == TensorProto.STRING else None
    try:
        return None if value is None else [text.decode() if isinstance(text, bytes) else text for text in value]
    except UnicodeDecodeError:
        return None


def _values(given: Mapping[str, Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a LabelEncoder's values and, [1], its default."""
    if "values_tensor" in given:
        values = numpy_helper.to_array(given["values_tensor"])
        usual: Any = {"O": "_Unused", "f": -0.0}.get(values.dtype.kind, -1)
        default = given.get("default_tensor")
        kept = np.array([usual]) if default is None else numpy_helper.to_array(default).ravel()
    elif "values_strings" in given:
        values = np.array([text.decode() for text in given["values_strings"]], dtype=object)
        kept = np.array([given.get("default_string", b"_Unused").decode()], dtype=object)
    elif "values_floats" in given:
        values = np.array(given["values_floats"], dtype=np.float32)
        kept = np.array([given.get("default_float", -0.0)])
    else:  # the oldest form has no values: a key's place is its value
        values = np.array(given.get("values_int64s", range(count)), dtype=np.int64)
        kept = np.array([given.get("default_int64", -1)])
    return values, kept.astype(values.dtype)


class _Coding:
    """A graph in which strings are being replaced by codes."""

    def __init__(self, graph: onnx.GraphProto, null_text: str) -> None:
        self._graph = graph
        self._null_text = null_text
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._uses: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)
        self._closed = {name for node in graph.node for name in _names_inside(node)}
        """Names that graphs inside of nodes use: what they do with them is not looked into."""
        self._closed.update(value.name for value in graph.output)
        self._closed.update(self._constants)
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)} | self._closed

    def column(self, value: onnx.ValueInfoProto, column: Column) -> tuple[str, ...] | None:
        """Make an input take codes and return its categories; None, and nothing changes, if it cannot."""
        encoders = self._encoders(value.name)
        if value.type.tensor_type.elem_type != TensorProto.STRING or not encoders:
            return None
        keys = {key for encoder in encoders for key in encoder.meaning}
        categories = tuple(sorted((keys | set(column.categories or ())) - {self._null_text}))
        if len(categories) > MAX_CATEGORIES:
            return None
        for encoder in encoders:
            other = _other_text(encoder.meaning)
            self._replace(encoder, encoder.table([*categories, self._null_text, self._null_text, other]))
        value.type.tensor_type.elem_type = TensorProto.INT32  # as pyarrow counts
        return categories

    def labels(self, output: str) -> list[str] | None:
        """Make an output of texts give their places and return the texts; None, with no change, if it cannot."""
        [value] = [value for value in self._graph.output if value.name == output]
        made = {name: node for node in self._graph.node for name in node.output}
        lookup, last = made.get(output), None
        while lookup is not None and lookup.op_type == "Identity" and not lookup.domain:
            lookup, last = made.get(lookup.input[0]), lookup
        if lookup is None or last is None or lookup.op_type != "Gather" or lookup.domain:
            return None
        texts = self._constants.get(lookup.input[0])
        if texts is None or texts.data_type != TensorProto.STRING or len(texts.dims) != 1:
            return None
        position = list(self._graph.node).index(last)
        places = helper.make_node("Cast", [lookup.input[1]], [output], to=TensorProto.INT32)
        self._graph.node.remove(last)
        self._graph.node.insert(position, places)
        value.type.tensor_type.elem_type = TensorProto.INT32
        return [text.decode() for text in texts.string_data]

    def tidy(self) -> None:
        """Drop what nothing uses any more, and declared types that may be wrong now."""
        wanted = {value.name for value in self._graph.output}
        for node in reversed(list(self._graph.node)):
            if wanted.isdisjoint(node.output):
                self._graph.node.remove(node)
            else:
                wanted.update((*node.input, *_names_inside(node)))
        used = {name for node in self._graph.node for name in (*node.input, *_names_inside(node))}
        used.update(value.name for value in self._graph.output)
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.value_info[:]

    def _encoders(self, tensor: str) -> list[_Encoder] | None:
        """Return the LabelEncoders that a tensor of strings goes to; None if it goes anywhere else."""
        if tensor in self._closed:
            return None
        found: list[_Encoder] = []
        for node in self._uses.get(tensor, []):
            if _shapes(node, tensor):
                further = self._encoders(node.output[0])
                if further is None:
                    return None
                found += further
            elif node.domain == ML and node.op_type == "LabelEncoder" and (encoder := _Encoder.read(node)):
                found.append(encoder)
            else:
                return None
        return found

    def _replace(self, encoder: _Encoder, table: NDArray[Any]) -> None:
        """Look codes up in a table instead: in that of the encoder's answers, or at once in what those lead to."""
        node = encoder.node
        source, result = node.input[0], node.output[0]
        lookups = list(self._lookups(result))
        joined = [(lookup, self._join(lookup, table)) for lookup in lookups if lookup is not None]
        ready = [(lookup, rows) for lookup, rows in joined if rows is not None]
        if not ready or len(ready) < len(lookups):
            node.CopyFrom(helper.make_node("Gather", [self._add(table), source], [result], name=node.name, axis=0))
            return
        for lookup, rows in ready:
            lookup.input[0] = self._add(rows)
        for reader in self._uses.get(result, []):
            reader.input[:] = [source if name == result else name for name in reader.input]
            self._uses.setdefault(source, []).append(reader)
        self._graph.node.remove(node)

    def _lookups(self, tensor: str) -> Iterator[onnx.NodeProto | None]:
        """Yield the nodes that look something up by a tensor; None for every other use."""
        if tensor in self._closed:
            yield None
        for node in self._uses.get(tensor, []):
            if _shapes(node, tensor):
                yield from self._lookups(node.output[0])
            elif node.op_type == "Gather" and not node.domain and node.input[0] in self._constants:
                yield node if node.input[0] != tensor else None
            else:
                yield None

    def _join(self, lookup: onnx.NodeProto, table: NDArray[Any]) -> NDArray[Any] | None:
        """Return the rows of a lookup's constant that a table leads to; None if they should stay two tables."""
        if any(attribute.i for attribute in lookup.attribute) or table.dtype.kind != "i":  # not its first axis
            return None
        rows = numpy_helper.to_array(self._constants[lookup.input[0]])
        if not rows.ndim or table.min() < -len(rows) or table.max() >= len(rows):
            return None
        size = len(table) * rows[:1].nbytes
        return rows[table] if size <= max(_JOINED_BYTES, rows.nbytes + table.nbytes) else None

    def _add(self, table: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        number = len(self._graph.initializer)
        while (name := f"table_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        self._constants[name] = tensor = numpy_helper.from_array(table, name)
        self._graph.initializer.append(tensor)
        return name


def _shapes(node: onnx.NodeProto, tensor: str) -> bool:
    """Say whether a node only gives the tensor another shape."""
    return node.op_type in _SHAPING and not node.domain and tensor not in node.input[1:]


def _names_inside(node: onnx.NodeProto) -> Iterator[str]:
    """Yield every name that is used in the graphs inside a node."""
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from _names_inside(inner)


def _other_text(texts: Mapping[str, Any]) -> str:
    """Return a text that is none of `texts`."""
    other = "other"
    while other in texts:
        other += "_"
    return other
