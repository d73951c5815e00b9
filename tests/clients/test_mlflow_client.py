"""MLflow's own clients, and plain requests, against /invocations."""

import mlflow.deployments
import numpy as np
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def forms(rows: list[dict]) -> dict[str, dict]:
    """Return the rows in every form of MLflow's protocol."""
    names, lists = list(rows[0]), [list(row.values()) for row in rows]
    return {
        "dataframe_split": {"dataframe_split": {"columns": names, "index": [0, 1, 2], "data": lists}},
        "dataframe_records": {"dataframe_records": rows},
        "instances": {"instances": rows},
        "instances, lists": {"instances": lists},
        "inputs": {"inputs": {name: [row[name] for row in rows] for name in names}},
        "inputs, rows": {"inputs": rows},
        "with params": {"dataframe_records": rows, "params": {"seed": 1}},
    }


NAMES = list(forms([{"a": 1}]))


def check(predictions, expected) -> None:
    assert [row["probability_leave"] for row in predictions] == pytest.approx(expected, abs=1e-15)
    assert {type(row["prediction"]) for row in predictions} == {str}


@pytest.mark.parametrize("name", NAMES)
def test_plain_requests_may_have_any_form(facts, name: str) -> None:
    """Every form of JSON, posted by `requests`, is answered with a prediction a row."""
    answer = requests.post(f"{facts.url}/invocations", json=forms(facts.rows)[name], timeout=60)
    check(answer.json()["predictions"], facts.expected)


def test_plain_requests_may_be_csv(facts) -> None:
    """What pandas writes as CSV is read."""
    body = facts.frame.to_csv(index=False).encode()
    answer = requests.post(f"{facts.url}/invocations", data=body, headers={"content-type": "text/csv"}, timeout=60)
    assert [row["probability_leave"] for row in answer.json()["predictions"]][:2] == pytest.approx(
        facts.expected[:2], abs=1e-15
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_deployments_client_gets_predictions(facts, name: str) -> None:
    """`mlflow.deployments.get_deploy_client(url).predict(endpoint=model)` takes any form; model references, too."""
    client = mlflow.deployments.get_deploy_client(facts.url)
    for endpoint in ("churn", "churn@1"):
        check(client.predict(endpoint=endpoint, inputs=forms(facts.rows)[name])["predictions"], facts.expected)


def test_the_deployments_client_is_told_what_is_wrong(facts) -> None:
    """Our words, and the status, are in what it raises."""
    client = mlflow.deployments.get_deploy_client(facts.url)
    with pytest.raises((MlflowException, requests.HTTPError), match="nope"):
        client.predict(endpoint="nope", inputs={"instances": facts.rows})
    with pytest.raises((MlflowException, requests.HTTPError), match="400"):
        client.predict(endpoint="churn", inputs={"nonsense": facts.rows})


def test_the_scoring_servers_client_gets_predictions(facts) -> None:
    """MLflow's client of its own server: ping, version, and a DataFrame, whose missing number it writes as NaN."""
    host, _, port = facts.address.partition(":")
    client = ScoringServerClient(host, int(port))
    client.wait_server_ready(timeout=60)
    assert client.get_version()
    answer = client.invoke(facts.frame, params={"seed": 1})
    frame = answer.get_predictions()
    assert frame["probability_leave"].tolist() == pytest.approx(facts.expected, abs=1e-15)
    assert list(frame.columns) == ["prediction", "probability_leave"]


def test_the_scoring_servers_client_takes_lists_and_arrays(facts) -> None:
    """Arrays are rows of the model's inputs, in order."""
    host, _, port = facts.address.partition(":")
    client = ScoringServerClient(host, int(port))
    check(client.invoke(facts.rows)["predictions"], facts.expected)
    array = np.array([list(row.values()) for row in facts.rows], dtype=object)
    check(client.invoke(array)["predictions"], facts.expected)


def test_the_scoring_servers_client_is_told_what_is_wrong(facts) -> None:
    """Its exception has our status and our words."""
    host, _, port = facts.address.partition(":")
    with pytest.raises(Exception, match=r"error code 400, response: .*'age'"):
        ScoringServerClient(host, int(port)).invoke(facts.frame.drop(columns="age"))
