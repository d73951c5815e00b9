"""MLflow's scoring protocol, form by form, and Azure ML's."""

import json
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from model_store.registry import Registry
from settings import VERSION
from tests.hand_model import hand_scores
from tests.scoring.test_rows import ROW
from web.app import create_app

ROWS = [ROW, {"age": None, "visits": 4, "member": False, "plan": None, "id": 7}]
SPLIT = {
    "columns": ["plan", "id", "age", "visits", "member"],
    "index": [5, 6],
    "data": [["basic", 1, 20, 3, True], [None, 7, None, 4, False]],
}
LISTS = [[20, 3, True, "basic"], [None, 4, False, None]]
COLUMNS = {"age": [20, None], "visits": [3, 4], "member": [True, False], "plan": ["basic", None]}
CSV = "id,age,visits,member,plan\n1,20,3,true,basic\n7,,4,false,\n"
EXPECTED = hand_scores([(20, 3, True, "basic"), (None, 4, False, None)])


def check(predictions) -> None:
    assert [list(row) for row in predictions] == [["prediction", "probability_leave"]] * 2
    assert [row["probability_leave"] for row in predictions] == pytest.approx(EXPECTED, abs=1e-15)


FORMS = [
    {"dataframe_split": SPLIT},
    {"dataframe_split": {"data": LISTS}},
    {"dataframe_records": ROWS},
    {"instances": ROWS},
    {"instances": LISTS},
    {"inputs": COLUMNS},
    {"inputs": ROWS},
    {"inputs": LISTS},
    {"input_data": SPLIT},
    {"input_data": COLUMNS},
    {"input_data": LISTS},
]


@pytest.mark.parametrize(
    "body", FORMS, ids=lambda body: f"{next(iter(body))}-{type(next(iter(body.values()))).__name__}"
)
def test_every_form_gets_mlflows_answer(client, body) -> None:
    """Each form of JSON is the same rows, and gets {"predictions": [records]}; params are ignored, as there."""
    answer = client.post("/invocations", json=body | {"params": {"seed": 1}})
    assert list(answer.json()) == ["predictions"], answer.text
    check(answer.json()["predictions"])
    assert answer.headers["x-dropscore-model"] == "churn@1"


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", 'Text/CSV;charset="UTF-8"'])
@pytest.mark.parametrize("text", [CSV, "\ufeff" + CSV.replace("\n", "\r\n")[:-2], "\n" + CSV.replace(",", ";")])
def test_csv_is_read_as_a_dropped_file_is(client, kind: str, text: str) -> None:
    """Byte order mark, line ends and delimiter are found out; an empty cell is no value."""
    check(client.post("/invocations", content=text.encode(), headers={"content-type": kind}).json()["predictions"])


def test_nan_is_no_value(client) -> None:
    """MLflow's own client writes a missing number as NaN, which is no JSON; infinities are refused."""
    body = json.dumps({"instances": LISTS}).replace("null, 4", "NaN, 4")
    check(client.post("/invocations", content=body).json()["predictions"])
    for bad in ("Infinity", "-Infinity"):
        answer = client.post("/invocations", content=body.replace("NaN", bad))
        assert (answer.status_code, f"{bad} is no JSON value" in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize("model", ["churn", "churn@1", "models:/churn/1"])
def test_the_path_may_name_the_model(client, model: str) -> None:
    """As mlflow.deployments asks; errors have MLflow's form there, too."""
    answer = client.post(f"/endpoints/{model}/invocations?model=nope", json={"instances": LISTS})
    check(answer.json()["predictions"])
    refused = client.post("/endpoints/nope/invocations", json={"instances": LISTS})
    assert (refused.status_code, refused.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_azure_ml_gets_a_bare_list(client) -> None:
    """POST /score answers as an MLflow model on an Azure ML endpoint does."""
    check(client.post("/score", json={"input_data": SPLIT}).json())


def test_one_row_of_inputs_is_one_row(client) -> None:
    """Columns whose values are no lists are one row, as for MLflow."""
    [row] = client.post("/invocations", json={"inputs": ROW}).json()["predictions"]
    assert row["probability_leave"] == pytest.approx(EXPECTED[0], abs=1e-15)


@pytest.mark.parametrize(
    "body", [{"dataframe_records": []}, {"dataframe_split": {"columns": list(ROW), "data": []}}]
)
def test_no_rows_get_no_predictions(client, body) -> None:
    """An empty table is answered with an empty list."""
    assert client.post("/invocations", json=body).json() == {"predictions": []}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (ROWS, "exactly one of dataframe_split, dataframe_records, instances, inputs, input_data"),
        ({}, "it has none"),
        ({"inputs": COLUMNS, "instances": ROWS}, "it has 2"),
        ({"dataframe_records": ROWS, "params": 3}, "params"),
        ({"dataframe_records": COLUMNS}, "a list of rows"),
        ({"dataframe_records": [1]}, "a list of rows"),
        ({"dataframe_split": ROWS}, "dataframe_split must be"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": []}}, "twice"),
        ({"dataframe_split": {"columns": [1], "data": []}}, "names"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, "a list of 1 values"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1]]}}, "'visits'"),
        ({"instances": [[1, 2]]}, "a list of 4 values"),
        ({"instances": COLUMNS}, "a list of rows"),
        ({"instances": [ROW, 3]}, "a list of rows"),
        ({"inputs": COLUMNS | {"age": [1]}}, "different lengths"),
        ({"inputs": 3}, "inputs must be columns"),
        ({"input_data": None}, "input_data must be columns"),
    ],
)
def test_what_is_no_table_is_a_bad_request(client, body, says: str) -> None:
    """Errors are MLflow's: a code of its own, and a message that says what to send."""
    answer = client.post("/invocations", json=body)
    named = "INVALID_PARAMETER_VALUE" if says == "'visits'" else "BAD_REQUEST"
    assert (answer.status_code, answer.json()["error_code"]) == (400, named)
    assert list(answer.json()) == ["error_code", "message"]
    assert says in answer.json()["message"]


def test_a_bad_row_refuses_the_request_by_number_without_its_values(client) -> None:
    """Clients of this protocol expect a prediction a row, so the answer is an error, which names the row."""
    rows = [ROW, ROW | {"age": "Jane Doe"}, ROW | {"member": None}]
    answer = client.post("/invocations", json={"dataframe_records": rows})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(
        "row 2, column 'age': the value is not a number; 1 more row has a fault"
    )
    assert "Jane" not in answer.text


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n1,2\n", 'age,visits,member,plan\n1,2,true,"x', "\0\xff", "age,age\n"]
)
def test_bad_csv_is_a_bad_request(client, text: str) -> None:
    """Text without a header, or without the columns, is refused in MLflow's form."""
    answer = client.post("/invocations", content=text.encode("latin-1"), headers={"content-type": "text/csv"})
    assert (answer.status_code, list(answer.json())) == (400, ["error_code", "message"])
    assert answer.json()["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "kind", ["text/csv; charset=latin-1", "text/csv; header=absent", "application/x-www-form-urlencoded", ""]
)
def test_other_content_types_are_not_read(client, kind: str) -> None:
    """Other types and charsets get a 415, as MLflow's server answers."""
    answer = client.post("/invocations", content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error_code"]) == (415, "BAD_REQUEST")


def test_health_and_version(client) -> None:
    """What MLflow's clients wait for answers as its server does."""
    for path in ("/ping", "/health"):
        assert (client.get(path).status_code, client.get(path).text) == (200, "\n")
    assert client.get("/version").text == VERSION
    assert client.get("/invocations").json() == {"error_code": "BAD_REQUEST", "message": "Method Not Allowed"}


@pytest.fixture
def ask(services, packages):
    def asked(model: str = "", query: str = "", names: tuple[str, ...] = ("churn", "other")):
        registry = Registry(services.blobs, services.settings.models)
        for name in names:
            registry.add(name, packages(-1.0))
        app = create_app(lambda: services, replace(services.settings, model=model))
        with TestClient(app) as client:
            return client.post(f"/invocations{query}", json={"dataframe_records": ROWS})

    return asked


@pytest.mark.parametrize(
    ("model", "query", "served"),
    [("other", "", "other@1"), ("", "?model=churn@1", "churn@1"), ("other", "?model=models:/churn/2", "churn@2")],
)
def test_the_model_is_what_the_request_or_the_setting_says(ask, model: str, query: str, served: str) -> None:
    """?model= goes before DROPSCORE_MODEL; both take any form of a reference."""
    assert ask(model, query).headers["x-dropscore-model"] == served


def test_which_of_several_models_must_be_said(ask) -> None:
    """Without a word, several models are an error that names them and says how to choose."""
    answer = ask()
    assert answer.status_code == 400
    assert "churn, other" in answer.json()["message"]
    assert "DROPSCORE_MODEL" in answer.json()["message"]


def test_an_unknown_model_is_not_found(ask) -> None:
    """A model that is not there has MLflow's own code."""
    answer = ask("nope")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_an_empty_registry_says_so(services) -> None:
    """Where nothing is registered, the answer says what to do."""
    app = create_app(lambda: services, replace(services.settings, models="empty"))
    services.blobs.create_container("empty")
    with TestClient(app) as client:
        answer = client.post("/invocations", content=json.dumps({"inputs": ROW}))
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
