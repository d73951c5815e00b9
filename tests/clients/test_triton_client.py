"""Triton's client, with its defaults and without, against the Open Inference Protocol."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

DTYPES = {"age": np.dtype("f8"), "visits": np.dtype("i8"), "member": np.dtype(bool), "plan": np.dtype(object)}


@pytest.fixture
def client(facts):
    with triton.InferenceServerClient(facts.address) as made:
        yield made


def inputs(rows: list[dict], dtypes: dict | None = None, *, tall: bool = False, binary: bool = True) -> list:
    made = []
    for name, dtype in (DTYPES | (dtypes or {})).items():
        cells = [row[name] for row in rows]
        values = np.array([np.nan if cell is None else cell for cell in cells], dtype=dtype)
        values = values.reshape(-1, 1) if tall else values
        made.append(triton.InferInput(name, list(values.shape), np_to_triton_dtype(dtype)))
        made[-1].set_data_from_numpy(values, binary_data=binary)
    return made


@pytest.mark.parametrize("tall", [False, True])
def test_its_defaults_work(facts, client, tall: bool) -> None:
    """Binary tensors in, and, as no outputs are named, binary tensors out; [n, 1] in kind."""
    answer = client.infer("churn", inputs(facts.rows, tall=tall), request_id="mine")
    probabilities, labels = answer.as_numpy("probability_leave"), answer.as_numpy("prediction")
    assert probabilities.shape == ((3, 1) if tall else (3,))
    assert probabilities.ravel().tolist() == pytest.approx(facts.expected, abs=1e-15)
    assert {type(label) for label in labels.ravel()} == {bytes}
    head = answer.get_response()
    assert (head["model_name"], head["model_version"], head["id"]) == ("churn", "1", "mine")
    assert all("binary_data_size" in output["parameters"] for output in head["outputs"])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_binary_is_a_choice_on_both_ways(facts, client, binary_in: bool, binary_out: bool) -> None:
    """JSON and binary mean the same; a missing number in JSON is NaN, as this client writes it."""
    wanted = [triton.InferRequestedOutput("probability_leave", binary_data=binary_out)]
    answer = client.infer("churn", inputs(facts.rows, binary=binary_in), outputs=wanted, model_version="1")
    assert answer.as_numpy("probability_leave").tolist() == pytest.approx(facts.expected, abs=1e-15)
    assert answer.as_numpy("prediction") is None


@pytest.mark.parametrize(
    "dtypes",
    [
        {"visits": np.dtype("i1")},
        {"visits": np.dtype("u8")},
        {"visits": np.dtype("f4")},
        {"age": np.dtype("f4")},
        {"age": np.dtype("f2")},
    ],
)
def test_numbers_may_be_of_any_width(facts, client, dtypes: dict) -> None:
    """What fits is taken: these values are the same in every type."""
    answer = client.infer("churn", inputs(facts.rows, dtypes))
    assert answer.as_numpy("probability_leave").tolist() == pytest.approx(facts.expected, abs=1e-15)


def test_many_rows_come_back_in_order(facts, client) -> None:
    """Thousands of rows, one call."""
    answer = client.infer("churn", inputs(facts.rows * 2000))
    assert answer.as_numpy("probability_leave").tolist() == pytest.approx(facts.expected * 2000, abs=1e-15)


def test_async_calls_work(facts, client) -> None:
    """So does the client's own pool of connections."""
    calls = [client.async_infer("churn", inputs(facts.rows)) for _ in range(5)]
    for call in calls:
        answer = call.get_result()
        assert answer.as_numpy("probability_leave").tolist() == pytest.approx(facts.expected, abs=1e-15)


def test_it_can_look_around(client) -> None:
    """Liveness, readiness and metadata are what it expects."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn")
    assert client.is_model_ready("churn", "1")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("churn")
    assert {entry["name"]: entry["datatype"] for entry in metadata["inputs"]} == {
        name: np_to_triton_dtype(dtype) for name, dtype in DTYPES.items()
    }


def test_it_is_told_what_is_wrong(facts, client) -> None:
    """Its exception has our status and our words."""
    with pytest.raises(InferenceServerException, match="'plan'") as caught:
        client.infer("churn", inputs(facts.rows)[:3])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="nope") as caught:
        client.infer("nope", inputs(facts.rows))
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="compressed"):
        client.infer("churn", inputs(facts.rows), request_compression_algorithm="gzip")
