"""Put another model's graph, whole, inside of one that a GraphWriter writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from model_store.convert.graph import IR_VERSION, ML, ML_OPSET, OPSET, GraphWriter

_PLACE = "Embedded"
_DOMAIN = "dropscore"
_NOTES = ("doc_string", "metadata_props", "value_info", "quantization_annotation")


def leave_place(graph: GraphWriter, model: onnx.ModelProto, feeds: Mapping[str, str]) -> list[str]:
    """Leave a place for a model fed by `feeds` (its input: our tensor); return the tensors of its outputs."""
    inputs = [feeds[tensor.name] for tensor in open_inputs(model)]
    outputs = range(len(model.graph.output))
    return [graph.node(_PLACE, *inputs, domain=_DOMAIN, output=place) for place in outputs]


def fill_place(whole: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Put the model in the place left for it.

    It may hold graphs inside of nodes and functions, which GraphWriter.graft does not know; the whole is in the
    operator sets that it was written for. What its makers noted in it, such as their paths, is left out.
    """
    prefix = "model/"
    names = {name for node in whole.graph.node for name in (*node.input, *node.output)}
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    inner = _renamed(model, prefix)
    nodes: list[onnx.NodeProto] = []
    filled = False
    for node in whole.graph.node:
        if node.domain != _DOMAIN:
            nodes.append(node)
            continue
        if not filled:
            nodes += _links(node.input, [tensor.name for tensor in open_inputs(inner)])
            nodes += inner.graph.node
            filled = True
        place = node.attribute[0].i
        nodes += _links([inner.graph.output[place].name], node.output)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del whole.graph.node[:]
    whole.graph.node.extend(copies)
    whole.graph.initializer.extend(inner.graph.initializer)
    whole.functions.extend(inner.functions)
    whole.ir_version = max(IR_VERSION, model.ir_version)
    opsets = {entry.domain or "": entry.version for entry in model.opset_import}
    opsets[""] = opsets.pop("ai.onnx", opsets.get("", OPSET))
    if not any(ML.encode() in part.SerializeToString() for part in (model.graph, *model.functions)):
        opsets[ML] = ML_OPSET  # whatever it declares, it uses none of them: ours may be the newest
    del whole.opset_import[:]
    whole.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in sorted(opsets.items()))


def open_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return what has to be fed: before ONNX's IR 4 weights are listed among the inputs as well."""
    weights = {initializer.name for initializer in model.graph.initializer}
    return [tensor for tensor in model.graph.input if tensor.name not in weights]


def _links(sources: Sequence[str], targets: Sequence[str]) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", [s], [t]) for s, t in zip(sources, targets, strict=True)]


def _renamed(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """Return a copy without notes and inferred shapes, whose tensors are named `prefix` and a running number.

    Some frameworks number their names through a whole process: the same model has the same bytes without them.
    """
    numbers: dict[str, str] = {}

    def renamed(name: str) -> str:
        return numbers.setdefault(name, f"{prefix}{len(numbers)}") if name else ""

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graphs, nodes = [copy.graph], [node for function in copy.functions for node in function.node]
    for message in (copy.graph, *copy.functions):
        _strip(message)
    while graphs:
        graph = graphs.pop()
        for named in (*graph.input, *graph.output, *graph.initializer):
            named.name = renamed(named.name)
            _strip(named)
        for node in graph.node:
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
            inside = [g for a in node.attribute for g in {a.GRAPH: [a.g], a.GRAPHS: a.graphs}.get(a.type, [])]
            for inner in inside:
                _strip(inner)
            graphs += inside
        nodes += graph.node
    for node in nodes:
        node.ClearField("name")
        _strip(node)
    return copy


def _strip(message: Any) -> None:
    for field in _NOTES:
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
