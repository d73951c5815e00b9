"""Write an ONNX graph node by node, so that the same calls always give the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from errors import EstimatorInvalidError
from model_store.signature import Column, ColumnType

# What ONNX Runtime 1.20 and newer load; ai.onnx.ml 5 is the first with tree ensembles in double.
IR_VERSION = 10
OPSET = 21
ML = "ai.onnx.ml"
ML_OPSET = 5

ELEMENT = {
    ColumnType.BOOLEAN: TensorProto.BOOL,
    ColumnType.INTEGER: TensorProto.INT32,
    ColumnType.LONG: TensorProto.INT64,
    ColumnType.FLOAT: TensorProto.FLOAT,
    ColumnType.DOUBLE: TensorProto.DOUBLE,
    ColumnType.STRING: TensorProto.STRING,
    ColumnType.DATETIME: TensorProto.INT64,
}


def serialise(model: onnx.ModelProto) -> bytes:
    """Return a graph's bytes, the same for the same graph; EstimatorInvalidError above the 2 GB ONNX can hold."""
    try:
        content: bytes = model.SerializeToString(deterministic=True)
    except EncodeError as error:
        raise EstimatorInvalidError(
            "the model's graph is larger than 2 GB, which ONNX cannot hold in one file: fit fewer or smaller "
            "trees, or a network of fewer weights"
        ) from error
    return content


class GraphWriter:
    """Collects nodes and constants; tensors are named by their operator and a running number.

    Names of inputs and outputs are the signature's and never given to anything else.
    """

    def __init__(self, inputs: Sequence[Column], outputs: Sequence[Column]) -> None:
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._taken = {column.name for column in (*inputs, *outputs)}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._known: dict[bytes, str] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self._made_by: dict[str, onnx.NodeProto] = {}
        self._ml_opset = ML_OPSET
        self.stock_steps: list[str] = []
        self.allowed: dict[str, frozenset[str]] = {}
        """The texts of string columns that the source takes, where it refuses all others."""
        self.versions: dict[str, str] = {}
        """Of frameworks that took part beside scikit-learn, by distribution name."""

    def name(self, hint: str) -> str:
        """Return `hint` with the first number that makes it a new name."""
        number = len(self._nodes) + len(self._initializers)
        while (name := f"{hint}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name

    def constant(self, value: Any, dtype: "type[np.generic] | None" = None) -> str:
        """Return the name of a constant tensor; equal constants are kept once."""
        array = np.asarray(value, dtype)
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._constants:
            self._constants[key] = name = self.name("constant")
            self._values[name] = array
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return that tensor's name; an equal node is reused."""
        node = helper.make_node(operator, list(inputs), [""], domain=domain, **attributes)
        key = node.SerializeToString(deterministic=True)
        if key not in self._known:
            node.output[0] = self._known[key] = self.name(operator.lower())
            self._made_by[node.output[0]] = node
            self._nodes.append(node)
        return self._known[key]

    def is_never_nan(self, tensor: str) -> bool:
        """Say whether it is certain that a tensor of numbers holds no NaN, whatever is fed."""
        if tensor in self._values:
            return bool(np.isfinite(self._values[tensor]).all())
        if tensor in self._made_by:
            return self._makes_no_nan(self._made_by[tensor])
        whole = (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.LONG)
        return any(column.name == tensor and column.type in whole for column in self._inputs)

    def _makes_no_nan(self, node: onnx.NodeProto) -> bool:
        first, *others = node.input
        match node.op_type:
            case "IsNaN":
                return True
            case "Where":  # an imputer's: NaN is what it replaces
                test = self._made_by.get(first)
                filled = test is not None and test.op_type == "IsNaN" and test.input[0] == others[1]
                return filled and self.is_never_nan(others[0])
            case "Cast" | "Gather" | "Reshape":
                return self.is_never_nan(first)
            case "Concat":
                return all(self.is_never_nan(name) for name in node.input)
            case (
                "Add" | "Sub" | "Mul" | "Div"
            ):  # a scaler's, by finite numbers other than zero: infinities stay such
                by = self._values.get(others[0])
                return by is not None and bool((np.isfinite(by) & (by != 0)).all()) and self.is_never_nan(first)
            case _:
                return False

    def nodes(self, operator: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add a node with `count` outputs and return those tensors' names."""
        names = [self.name(operator.lower()) for _ in range(count)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def inside(self) -> "GraphWriter":
        """Return a writer of what a node of this graph runs, such as a Loop; it may read this graph's tensors."""
        inner = GraphWriter((), ())
        # One set of names, so that none hides another; constants are kept once, by the graph around.
        inner._taken, inner._constants, inner._initializers = self._taken, self._constants, self._initializers
        inner._known, inner._made_by, inner._values = dict(self._known), dict(self._made_by), self._values
        return inner

    def body(
        self, inputs: Mapping[str, tuple[int, int]], outputs: Mapping[str, tuple[int, int]]
    ) -> onnx.GraphProto:
        """Return what was written inside as a graph from `inputs` to `outputs`: tensor: (element type, rank)."""
        starts = [_of_rank(name, *kind) for name, kind in inputs.items()]
        # An output may be what comes from outside, which is no output of a node inside: each is named anew.
        ends = [_of_rank(self.name("output"), *kind) for kind in outputs.values()]
        self._nodes += [
            helper.make_node("Identity", [name], [end.name]) for name, end in zip(outputs, ends, strict=True)
        ]
        return helper.make_graph(self._nodes, "body", starts, ends)

    @staticmethod
    def attribute(values: NDArray[Any]) -> onnx.TensorProto:
        """Return a tensor to be the attribute of a node."""
        return numpy_helper.from_array(values)

    def cast(self, tensor: str, element: int) -> str:
        """Add a Cast to a TensorProto element type."""
        return self.node("Cast", tensor, to=element)

    def column(self, tensor: str, index: int) -> str:
        """Take one column of a [N, width] tensor as [N]."""
        return self.node("Gather", tensor, self.constant(index, np.int64), axis=1)

    def flat(self, tensor: str) -> str:
        """Turn [N, 1] into [N]."""
        return self.node("Reshape", tensor, self.constant([-1], np.int64))

    def total(self, terms: Iterable[str]) -> str:
        """Add up tensors from first to last; the order is kept, so that sums round as they did in the source."""
        first, *rest = terms
        return self.node("Sum", first, *rest) if rest else first

    def ascending(self, tensor: str, width: int) -> tuple[str, str]:
        """Sort each row of a [N, width] tensor; return the sorted values and where each of them was."""
        names = self.name("sorted"), self.name("order")
        count = self.constant([width], np.int64)
        self._nodes.append(helper.make_node("TopK", [tensor, count], names, axis=1, largest=0, sorted=1))
        return names

    def take(self, column: Column) -> str:
        """Return an input's cells as [N, 1], in whatever shape they are fed."""
        if len(self._inputs) == 1:
            return column.name
        return self.node("Reshape", column.name, self.constant([-1, 1], np.int64))

    def give(self, column: Column, tensor: str) -> None:
        """Make a [N] tensor the output of that column."""
        self._nodes.append(helper.make_node("Identity", [tensor], [column.name]))

    def choose(self, condition: str, then: Callable[[], str], otherwise: str) -> str:
        """Compute `then` only if the condition, one boolean, holds; else the tensor is `otherwise`.

        What `then` adds to the graph cannot be used outside of it.
        """
        nodes, known, self._nodes, self._known = self._nodes, self._known, [], dict(self._known)
        branches = {}
        for name, tensor in (("then_branch", then()), ("else_branch", otherwise)):
            result = self.name("branch")
            inside = [*self._nodes, helper.make_node("Identity", [tensor], [result])]
            value = helper.make_empty_tensor_value_info(result)
            branches[name] = helper.make_graph(inside, name, [], [value])
            self._nodes = []
        self._nodes, self._known = nodes, known
        return self.node("If", condition, **branches)

    def graft(self, model: onnx.ModelProto, feeds: Mapping[str, str]) -> list[str]:
        """Copy another model's nodes in, fed by `feeds` (its input: our tensor); return its outputs' tensors."""
        for entry in model.opset_import:
            if entry.domain == ML:
                self._ml_opset = min(self._ml_opset, entry.version)
        renamed = dict(feeds)
        for initializer in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(initializer)
            copy.name = renamed[initializer.name] = self.name("constant")
            self._initializers.append(copy)
        for node in model.graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = ""
            copied.input[:] = [renamed[name] if name else "" for name in node.input]
            for name in node.output:
                renamed[name] = self.name(node.op_type.lower()) if name else ""
            copied.output[:] = [renamed[name] for name in node.output]
            self._nodes.append(copied)
        return [renamed[output.name] for output in model.graph.output]

    def _needed(self) -> tuple[list[onnx.NodeProto], set[str]]:
        """Return the nodes that the outputs need, and the names of all tensors in use.

        A converter may leave more in the graph than was asked for, such as the label of an estimator that is only
        part of another one.
        """
        used = {column.name for column in self._outputs}
        nodes = []
        for node in reversed(self._nodes):
            if used.intersection(node.output):
                nodes.append(node)
                used.update(self._read_by(node))
        return nodes[::-1], used

    @classmethod
    def _read_by(cls, node: onnx.NodeProto) -> Iterator[str]:
        """Yield the tensors that a node reads, and the graphs inside of it: those may read what is around them."""
        yield from node.input
        for attribute in node.attribute:
            for inside in attribute.g.node:
                yield from cls._read_by(inside)

    def model(self) -> onnx.ModelProto:
        """Return the finished model, without what no output needs."""
        # What mlflow.pyfunc feeds: [N] for each of several columns, [N, 1] for the only one.
        shape: list[str | int] = ["N"] if len(self._inputs) > 1 else ["N", 1]
        nodes, used = self._needed()
        graph = helper.make_graph(
            nodes,
            "dropscore",
            [helper.make_tensor_value_info(c.name, ELEMENT[c.type], shape) for c in self._inputs],
            [helper.make_tensor_value_info(c.name, ELEMENT[c.type], ["N"]) for c in self._outputs],
            [initializer for initializer in self._initializers if initializer.name in used],
        )
        domains = {"": OPSET, ML: self._ml_opset}
        return helper.make_model(
            graph,
            producer_name="dropscore",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        )


def _of_rank(name: str, element: int, rank: int) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = [None] * rank
    return helper.make_tensor_value_info(name, element, shape)
