"""Requests as MLServer's codecs write them, and answers as they read them."""

import numpy as np
import pytest
import requests
from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput


def infer(facts, request: InferenceRequest) -> InferenceResponse:
    answer = requests.post(
        f"{facts.url}/v2/models/churn/infer",
        data=request.model_dump_json(),
        headers={"content-type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return InferenceResponse.model_validate_json(answer.text)


def columns(facts, plan: RequestInput) -> list[RequestInput]:
    """Return the rows by NumpyCodec, with the column of texts that is given."""
    arrays = {
        "age": np.array([np.nan if row["age"] is None else row["age"] for row in facts.rows]),
        "visits": np.array([row["visits"] for row in facts.rows]),
        "member": np.array([row["member"] for row in facts.rows]),
    }
    return [*(NumpyCodec.encode_input(name, array) for name, array in arrays.items()), plan]


@pytest.mark.parametrize("use_bytes", [True, False])
def test_the_pandas_codec_works_both_ways(facts, use_bytes: bool) -> None:
    """A DataFrame goes in, a DataFrame comes out; the codec itself takes no null among texts."""
    frame = facts.frame.astype({"plan": object})
    response = infer(facts, PandasCodec.encode_request(frame, use_bytes=use_bytes))
    answers = PandasCodec.decode_response(response)
    assert list(answers.columns) == ["prediction", "probability_leave"]
    assert answers["probability_leave"].tolist() == pytest.approx(facts.expected, abs=1e-15)
    assert answers["prediction"].map(type).tolist() == [str] * 3


@pytest.mark.parametrize("use_bytes", [True, False])
def test_the_string_codec_works_both_ways(facts, use_bytes: bool) -> None:
    """Texts go in by StringCodec, and labels are read by it."""
    texts = [row["plan"] for row in facts.rows]
    plan = StringCodec.encode_input("plan", texts, use_bytes=use_bytes)
    label, probability = infer(facts, InferenceRequest(inputs=columns(facts, plan))).outputs
    assert {type(text) for text in StringCodec.decode_output(label)} == {str}
    assert NumpyCodec.decode_output(probability).ravel().tolist() == pytest.approx(facts.expected, abs=1e-15)


@pytest.mark.parametrize("dtype", [str, object])
def test_the_numpy_codec_works_both_ways(facts, dtype: type) -> None:
    """Arrays go in by NumpyCodec, texts among them, and come out by it, [n, 1] in kind."""
    plan = NumpyCodec.encode_input("plan", np.array([row["plan"] for row in facts.rows], dtype=dtype))
    label, probability = infer(facts, InferenceRequest(inputs=columns(facts, plan))).outputs
    assert NumpyCodec.decode_output(probability).shape == (3, 1)
    assert NumpyCodec.decode_output(probability).ravel().tolist() == pytest.approx(facts.expected, abs=1e-15)
    assert NumpyCodec.decode_output(label).ravel().tolist() == StringCodec.decode_output(label)
