"""The Open Inference Protocol: discovery, tensors in, tensors out, and what is refused."""

import json

import pytest

from settings import VERSION
from tests.hand_model import hand_scores

URL = "/v2/models/churn/infer"
EXPECTED = hand_scores([(20, 3, True, "basic"), (None, 4, False, None)])


def tensor(name: str, datatype: str, data: list, shape: list[int] | None = None, **more) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data} | more


AGE = tensor("age", "FP64", [20, None])
VISITS = tensor("visits", "INT64", [3, 4])
MEMBER = tensor("member", "BOOL", [True, False])
PLAN = tensor("plan", "BYTES", ["basic", None], parameters={"content_type": "str"})
INPUTS = [AGE, VISITS, MEMBER, PLAN]


def infer(client, *changes: dict, **more):
    """Ask with the good inputs, those of the same names replaced."""
    named = {entry["name"]: entry for entry in (*INPUTS, *changes)}
    return client.post(URL, json={"inputs": list(named.values())} | more)


def test_columns_as_tensors_are_scored(client) -> None:
    """One tensor a column in, one a column out, with the model's name and version; null is no value."""
    body = infer(client, tensor("id", "INT8", [1, 2])).json()
    label, probability = body["outputs"]
    assert (body["model_name"], body["model_version"]) == ("churn", "1")
    assert label == tensor("prediction", "BYTES", label["data"], [2], parameters={"content_type": "str"})
    assert probability == tensor("probability_leave", "FP64", probability["data"], [2])
    assert probability["data"] == pytest.approx(EXPECTED, abs=1e-15)
    assert {"id", "parameters"}.isdisjoint(body)


@pytest.mark.parametrize("nested", [False, True])
def test_columns_may_be_tall_and_the_answer_then_is(client, nested: bool) -> None:
    """Shape [n, 1], which MLServer's pandas codec sends, is answered in kind; its data may be nested."""
    tall = [
        entry | {"shape": [2, 1], "data": [[cell] for cell in entry["data"]] if nested else entry["data"]}
        for entry in INPUTS
    ]
    body = client.post(URL, json={"inputs": tall, "parameters": {"content_type": "pd"}}).json()
    assert [output["shape"] for output in body["outputs"]] == [[2, 1], [2, 1]]
    assert body["outputs"][1]["data"] == pytest.approx(EXPECTED, abs=1e-15)
    assert body["parameters"] == {"content_type": "pd"}


def test_texts_may_each_be_json(client) -> None:
    """MLServer's pandas codec writes a column of texts with a null among them so."""
    plan = tensor("plan", "BYTES", ['"basic"', "null"], parameters={"content_type": "pd_json"})
    assert infer(client, plan).json()["outputs"][1]["data"] == pytest.approx(EXPECTED, abs=1e-15)
    for bad in ("basic", "3", "[]", 3):
        plan = tensor("plan", "BYTES", [bad, "null"], parameters={"content_type": "pd_json"})
        assert infer(client, plan).status_code == 400


def test_nan_is_no_value(client) -> None:
    """A missing number is NaN where tritonclient writes JSON."""
    body = json.dumps({"inputs": INPUTS}).replace("[20, null]", "[20, NaN]")
    assert "NaN" in body
    assert client.post(URL, content=body).json()["outputs"][1]["data"] == pytest.approx(EXPECTED, abs=1e-15)


def test_ids_come_back(client) -> None:
    """An id is echoed as it was, whatever text it is."""
    for name in ("order-17", "é\ud800", ""):
        content = json.dumps({"inputs": INPUTS, "id": name})
        assert client.post(URL, content=content).json()["id"] == name


def test_outputs_can_be_chosen(client) -> None:
    """The outputs that are named come, in that order."""
    both = [{"name": "probability_leave"}, {"name": "prediction"}]
    for asked in (both, both[:1]):
        outputs = infer(client, outputs=asked).json()["outputs"]
        assert [output["name"] for output in outputs] == [output["name"] for output in asked]
    assert len(infer(client, outputs=[]).json()["outputs"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        tensor("age", "INT8", [20, None]),
        tensor("age", "FP16", [20, None]),
        tensor("age", "UINT64", [20, None]),
        tensor("visits", "FP64", [3.0, 4]),
        tensor("visits", "UINT64", [3, 4]),
    ],
)
def test_numbers_of_any_type_that_lose_nothing_are_taken(client, change) -> None:
    """What pandas makes of a column depends on its neighbours' gaps: values count, not their declared width."""
    outputs = infer(client, change).json()["outputs"]
    assert outputs[1]["data"] == pytest.approx(EXPECTED, abs=1e-15)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tensor("age", "BYTES", ["20", "30"]), "'age' is BYTES, the model takes FP64"),
        (tensor("visits", "BOOL", [True, False]), "'visits' is BOOL, the model takes INT64"),
        (tensor("member", "INT8", [1, 0]), "'member' is INT8, the model takes BOOL"),
        (tensor("plan", "FP32", [1, 0]), "'plan' is FP32, the model takes BYTES"),
        (tensor("visits", "INT8", [3, 128]), "input 2 is not of its datatype"),
        (tensor("visits", "UINT8", [3, -1]), "input 2 is not of its datatype"),
        (tensor("visits", "INT64", [3, 4.0]), "input 2 is not of its datatype"),
        (tensor("visits", "INT64", [3, True]), "input 2 is not of its datatype"),
        (tensor("age", "FP64", ["Jane", 1]), "input 1 is not of its datatype"),
        (tensor("plan", "BYTES", [1, "Jane"]), "input 4 is not of its datatype"),
        (tensor("visits", "FP64", [3, 4.5]), "row 2, column 'visits'"),
        (tensor("visits", "UINT64", [3, 2**63]), "row 2, column 'visits'"),
        (tensor("visits", "INT64", [3, None]), "row 2, column 'visits'"),
        (tensor("age", "FP64", [1, 2, 3]), "different lengths"),
        (tensor("age", "FP64", [1, 2], [3]), "input 1 has 2 values where its shape says 3"),
        (tensor("age", "FP64", [[1, 2]], [1, 2]), "must be [n] or [n, 1]"),
        (tensor("age", "FP64", [1], [1, 1, 1]), "must be [n] or [n, 1]"),
        (tensor("age", "FP64", [1], [-1]), "has no shape"),
        (tensor("age", "FP64", [1], [True]), "has no shape"),
        (tensor("age", "FP128", [1, 2]), "has no datatype"),
        (AGE | {"datatype": []}, "has no datatype"),
        (AGE | {"data": None}, "has no data"),
        (tensor("age", "FP64", [1, 2], parameters=[]), "parameters of input 1"),
        (tensor("plan", "BYTES", ["YQ=="], parameters={"content_type": "base64"}), "content_type of input 4"),
        (tensor("plan", "BYTES", ["YQ=="], parameters={"content_type": [1]}), "content_type of input 4"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(client, change, says: str) -> None:
    """400 and {"error": …}: which input, or which row, and what is taken; never its values."""
    answer = infer(client, change)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert says in answer.json()["error"]
    assert "Jane" not in answer.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], '"inputs"'),
        ({}, '"inputs"'),
        ({"inputs": []}, "'age'"),
        ({"inputs": [1]}, "input 1 must be an object"),
        ({"inputs": [{"name": 1}]}, "input 1 must be an object"),
        ({"inputs": INPUTS[:3]}, "'plan'"),
        ({"inputs": [*INPUTS, AGE]}, "same name"),
        ({"inputs": INPUTS, "id": 3}, '"id"'),
        ({"inputs": INPUTS, "id": "x" * 1001}, '"id"'),
        ({"inputs": INPUTS, "parameters": 3}, "parameters of the request"),
        ({"inputs": INPUTS, "outputs": {}}, '"outputs"'),
        ({"inputs": INPUTS, "outputs": [1]}, '"outputs"'),
        ({"inputs": INPUTS, "outputs": [{"name": "Jane"}]}, "'prediction', 'probability_leave'"),
        ({"inputs": INPUTS, "outputs": [{"name": "prediction"}] * 2}, "twice"),
    ],
)
def test_requests_that_are_none_are_refused(client, body, says: str) -> None:
    """What is wrong with the request itself is said in the protocol's form."""
    answer = client.post(URL, json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert says in answer.json()["error"]


def test_a_model_describes_itself(client) -> None:
    """Metadata names versions, inputs and outputs with their datatypes; a version is a part of the path."""
    body = client.get("/v2/models/churn").json()
    assert body == client.get("/v2/models/churn/versions/1").json()
    assert (body["name"], body["versions"], body["platform"]) == ("churn", ["1"], "onnx_onnxv1")
    datatypes = {"age": "FP64", "visits": "INT64", "member": "BOOL", "plan": "BYTES"}
    assert body["inputs"] == [{"name": n, "datatype": d, "shape": [-1]} for n, d in datatypes.items()]
    assert [entry["name"] for entry in body["outputs"]] == ["prediction", "probability_leave"]


def test_a_version_can_be_asked(client) -> None:
    """`versions/1` is that version, also to infer."""
    answer = client.post("/v2/models/churn/versions/1/infer", json={"inputs": INPUTS})
    assert answer.json()["model_version"] == "1"


def test_readiness(client) -> None:
    """Server and models say that they are there, in JSON."""
    assert client.get("/v2").json() == {
        "name": "dropscore",
        "version": VERSION,
        "extensions": ["binary_tensor_data"],
    }
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("churn", "churn@1", "churn/versions/1"):
        assert client.get(f"/v2/models/{path}/ready").json() == {"name": "churn", "ready": True}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("models/nope", 404),
        ("models/churn/versions/9", 404),
        ("models/churn/versions/9/ready", 404),
        ("models/churn/versions/0", 400),
        ("models/churn@1/versions/1", 400),
        ("models", 404),
        ("models/churn/infer", 405),
    ],
)
def test_what_is_not_there_is_said_in_the_protocols_form(client, path: str, status: int) -> None:
    """Unknown models, versions, paths and methods are {"error": …}."""
    answer = client.get(f"/v2/{path}")
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert isinstance(answer.json()["error"], str)
