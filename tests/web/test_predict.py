"""The forms that rows may come in, and how much of them."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from tests.hand_model import hand_scores
from tests.scoring.test_rows import ROW
from web.app import create_app

URL = "/api/predict/churn"
COLUMNS = {"age": [20, None], "visits": [3, 4], "member": [True, False], "plan": ["basic", None], "id": [7, 8]}


def scores(answer) -> list[float]:
    return [row["probability_leave"] for row in answer.json()["predictions"]]


@pytest.mark.parametrize("body", [COLUMNS, {"columns": COLUMNS}], ids=["bare", "named"])
def test_columns_are_scored_row_for_row(client, body) -> None:
    """An object of lists is columns, as pandas' to_dict("list") makes them."""
    expected = hand_scores([(20, 3, True, "basic"), (None, 4, False, None)])
    assert scores(client.post(URL, json=body)) == pytest.approx(expected, abs=1e-15)


def test_a_bad_cell_of_a_column_costs_its_row_only(client) -> None:
    """The row has its error where its prediction would be."""
    first, second = client.post(URL, json=COLUMNS | {"visits": [3, "four"]}).json()["predictions"]
    assert list(first) == ["prediction", "probability_leave"]
    assert second == {
        "error": {
            "code": "value_type",
            "column": "visits",
            "message": "the value is not a whole number of 64 bits",
        }
    }


def test_a_list_in_a_row_is_a_bad_cell(client) -> None:
    """Where one value is no list, the object is a row, whatever else it holds."""
    [row] = client.post(URL, json=ROW | {"age": [20]}).json()["predictions"]
    assert row["error"]["column"] == "age"


@pytest.mark.parametrize(
    "body", [COLUMNS | {"age": []}, {"columns": COLUMNS | {"age": 3}}, {"columns": 3}, {"columns": []}]
)
def test_what_is_no_table_is_refused(client, body) -> None:
    """Columns of different lengths, or of no length at all, are one error."""
    answer = client.post(URL, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) in [
        (400, "message_invalid"),
        (400, "column_missing"),
    ]


def test_no_rows_get_no_predictions(client) -> None:
    """An empty list, or columns without a cell, are no mistake."""
    for body in ([], {name: [] for name in COLUMNS}):
        answer = client.post(URL, json=body)
        assert (answer.status_code, answer.json()["predictions"]) == (200, [])


def test_the_answer_names_outputs_and_the_very_model(client) -> None:
    """Names of the outputs, and name, version and digest of what answered."""
    body = client.post(URL, json=ROW).json()
    assert body["outputs"] == ["prediction", "probability_leave"]
    assert (body["model"]["name"], body["model"]["version"], len(body["model"]["digest"])) == ("churn", 1, 64)


@pytest.mark.parametrize("reference", ["churn", "churn@1", "models:/churn/1", "models:%2Fchurn%2F1"])
def test_every_form_of_a_reference_is_read(client, reference: str) -> None:
    """A path may also hold MLflow's form, with its slashes."""
    assert client.post(f"/api/predict/{reference}", json=ROW).status_code == 200


@pytest.fixture
def narrow(services) -> Iterator[TestClient]:
    settings = replace(services.settings, max_request_bytes=100, max_request_rows=2)
    with TestClient(create_app(lambda: services, settings), raise_server_exceptions=False) as made:
        yield made


@pytest.mark.parametrize("rows", [[{}] * 3, {"a": [1, 2, 3]}])
def test_too_many_rows_are_refused_with_the_number_and_another_way(narrow, rows) -> None:
    """413 says how many were too many, and where a file goes."""
    answer = narrow.post(URL, json=rows)
    assert answer.status_code == 413
    assert "3 rows are more than the 2" in answer.json()["error"]["message"]
    assert "incoming/<model>/" in answer.json()["error"]["message"]


def test_a_body_that_says_it_is_too_large_is_not_read(narrow) -> None:
    """Content-Length is looked at before the first byte."""

    def body() -> Iterator[bytes]:
        yield b"{}"

    answer = narrow.post(URL, content=body(), headers={"content-length": "101"})
    assert answer.status_code == 413
    assert "100 bytes" in answer.json()["error"]["message"]


def test_a_body_without_length_is_counted(narrow) -> None:
    """A chunked body is read no further than is allowed."""
    pieces = iter([b" " * 60] * 1000)
    assert narrow.post(URL, content=pieces).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b'{"age": 1, "age": "Jane Doe"}', b'{"age": {"Jane Doe": 1, "Jane Doe": 2}}', b'["Jane Doe"', b'"Jane Doe"'],
)
def test_a_refused_body_is_not_quoted(client, body: bytes) -> None:
    """JSON that is none, or says one thing twice, is refused without a word of it."""
    answer = client.post(URL, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "message_invalid")
    assert "Jane" not in answer.text


def test_a_number_too_long_for_python_is_said_in_json_s_words(client) -> None:
    """What Python says of it is for who runs Python."""
    message = client.post(URL, content=b'{"age": ' + b"1" * 5000 + b"}").json()["error"]["message"]
    assert message == "the body is not JSON: a number has too many digits"


def test_bad_cells_are_not_quoted(client) -> None:
    """An error of a row says its column and what it takes, not what was there."""
    answer = client.post(URL, content=json.dumps([ROW | {name: {"Jane": "Doe"}} for name in ROW]))
    assert answer.status_code == 200
    assert "Jane" not in answer.text


def test_a_compressed_body_is_refused_by_name(client) -> None:
    """What is not read is said, instead of that it is no JSON."""
    answer = client.post(URL, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "format_unsupported")
