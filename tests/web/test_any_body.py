"""No body whatsoever makes a 5xx, an answer that is no strict JSON, or an error that quotes it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.strict_json import read_json
from tests.web.test_inference_v2 import INPUTS
from tests.web.test_mlflow import CSV, FORMS

PATHS = ["/api/predict/churn", "/invocations", "/score", "/v2/models/churn/infer"]
TYPES = ["application/json", "text/csv", "text/plain", "application/json; charset=utf-8"]
DOCUMENTED = {200, 400, 404, 405, 413, 415}

CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(
    [
        "age",
        "visits",
        "member",
        "plan",
        "columns",
        "index",
        "data",
        "inputs",
        "instances",
        "dataframe_split",
        "dataframe_records",
        "input_data",
        "params",
        "outputs",
        "parameters",
        "content_type",
        "id",
        "name",
        "shape",
        "datatype",
    ]
)
VALUE = st.recursive(
    CELL, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=5)
)
GOOD = [*FORMS, {"inputs": INPUTS}, FORMS[2]["dataframe_records"], FORMS[5]["inputs"]]


MARKER = "zqxj-7319"


@st.composite
def changed(draw, values=VALUE):
    """Draw a good body, one place of which holds anything."""
    body = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(values)
        return body


def check(answer) -> None:
    assert answer.status_code in DOCUMENTED, answer.text
    assert answer.headers["content-type"] == "application/json"
    read_json(answer.content, "the answer")


QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(body=VALUE | changed())
def test_any_json_is_answered(client, path: str, body) -> None:
    """JSON of any shape, NaN included, is scored or refused."""
    text = json.dumps(body)
    check(client.post(path, content=text, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(body=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")), kind=st.sampled_from(TYPES))
def test_any_bytes_are_answered(client, path: str, body: bytes, kind: str) -> None:
    """Bytes that are no JSON are refused."""
    check(client.post(path, content=body, headers={"content-type": kind}))


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(body=changed(st.sampled_from([MARKER, [MARKER], {"age": MARKER}, {"name": MARKER, "datatype": MARKER}])))
def test_no_value_is_quoted(client, path: str, body) -> None:
    """Whatever place a value is put in, no answer repeats it."""
    answer = client.post(path, json=body)
    check(answer)
    assert MARKER not in answer.text


@QUICK
@given(text=st.text(alphabet='ab,;"\n\r\0é\ufeff1.') | st.text(), place=st.integers(0, len(CSV)))
def test_any_csv_is_answered(client, text: str, place: int) -> None:
    """CSV with anything in any place is scored or refused."""
    body = (CSV[:place] + text + CSV[place:]).encode("utf-8", "surrogatepass")
    check(client.post("/invocations", content=body, headers={"content-type": "text/csv"}))


@QUICK
@given(kind=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_content_type_is_answered(client, kind: str) -> None:
    """A content type that is none is refused."""
    check(client.post("/invocations", content=b"{}", headers={"content-type": kind}))
