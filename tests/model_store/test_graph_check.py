"""A graph that reaches outside itself is refused before ONNX Runtime sees it."""

import time

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from errors import PackageInvalidError
from model_store.graph_check import check_graph


def model_of(*nodes, initializers=(), functions=(), domains=("",)):
    value = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 1])
    graph = helper.make_graph(list(nodes), "g", [value], [value], list(initializers))
    opsets = [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def outside(name="weights"):
    """Return a tensor that keeps its values in another file."""
    tensor = numpy_helper.from_array(np.ones(4), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def nested(*nodes, initializers=()):
    """Return an If node with a graph inside."""
    inner = helper.make_graph(list(nodes), "inner", [], [], list(initializers))
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


@pytest.fixture
def check(tmp_path):
    def written(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        check_graph(path)

    return written


def test_plain_graphs_pass(check, conversion):
    """The operators every ONNX Runtime has are welcome, in nested graphs too."""
    check(conversion.graph)
    check(model_of(nested(helper.make_node("Add", ["x", "x"], ["y"]))))


@pytest.mark.parametrize(
    "model",
    [
        model_of(initializers=[outside()]),
        model_of(helper.make_node("Constant", [], ["y"], value=outside())),
        model_of(nested(initializers=[outside()])),
        model_of(nested(nested(helper.make_node("Constant", [], ["y"], value=outside())))),
        model_of(
            functions=[
                helper.make_function(
                    "ours", "F", [], ["y"], [helper.make_node("Constant", [], ["y"], value=outside())], []
                )
            ]
        ),
    ],
    ids=["initializer", "constant", "nested", "nested twice", "function"],
)
def test_weights_in_other_files_are_refused_wherever_they_hide(check, model):
    """External data is how a model would read files of the machine it runs on."""
    with pytest.raises(PackageInvalidError, match="weights in other files"):
        check(model)


def test_a_list_of_tensors_and_a_sparse_one_are_looked_into(check):
    """Attributes can carry tensors in four ways; each is checked."""
    node = helper.make_node("Anything", [], ["y"])
    node.attribute.append(AttributeProto(name="list", type=AttributeProto.TENSORS, tensors=[outside()]))
    with pytest.raises(PackageInvalidError, match="weights in other files"):
        check(model_of(node))
    sparse = helper.make_sparse_tensor(outside(), numpy_helper.from_array(np.arange(4)), [4])
    node = helper.make_node("Constant", [], ["y"], sparse_value=sparse)
    with pytest.raises(PackageInvalidError, match="weights in other files"):
        check(model_of(node))


def test_unknown_operator_domains_are_named(check):
    """An operator that ONNX Runtime would need a library for is refused, by its domain."""
    node = helper.make_node("Shell", ["x"], ["y"], domain="com.evil")
    for model in (model_of(node), model_of(nested(node))):
        with pytest.raises(PackageInvalidError, match=r"unknown domain 'com\.evil'"):
            check(model)


def test_domains_of_functions_the_model_brings_are_its_own(check):
    """Exporters put parts of a model into functions under a domain of their own: nothing outside is meant."""
    function = helper.make_function(
        "torch.parts", "F", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], [helper.make_opsetid("", 21)]
    )
    check(model_of(helper.make_node("F", ["x"], ["y"], domain="torch.parts"), functions=[function]))


def test_graphs_nested_without_end_are_refused(check):
    """A graph built to exhaust the stack is an error like any other."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=helper.make_graph([node], "g", [], []))
    with pytest.raises(PackageInvalidError, match="nests graphs"):
        check(model_of(node))


def test_what_is_no_graph_is_refused(check, conversion):
    """Cut short, empty, or something else altogether."""
    for content in (
        b"",
        b"PK\x03\x04 a zip file",
        b"hello",
        b"\xff" * 100,
        conversion.graph[: len(conversion.graph) // 2],
    ):
        with pytest.raises(PackageInvalidError):
            check(content)


def test_a_large_tree_ensemble_takes_no_time(check):
    """Millions of numbers in attributes are stepped over, not read one by one."""
    count = 300_000
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_featureids=list(range(count)),
        nodes_values=[0.5] * count,
        nodes_modes=["BRANCH_LEQ", "LEAF"] * (count // 2),
        nodes_truenodeids=[2**62, -1] * (count // 2),
    )
    content = model_of(node, domains=["", "ai.onnx.ml"]).SerializeToString()
    started = time.thread_time()  # whatever else this machine does
    check(content)
    assert time.thread_time() - started < 1
    node.attribute.append(AttributeProto(name="late", type=AttributeProto.TENSOR, t=outside()))
    with pytest.raises(PackageInvalidError, match="weights in other files"):
        check(model_of(node, domains=["", "ai.onnx.ml"]))
