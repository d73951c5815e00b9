"""Binary tensors of the Open Inference Protocol, as Triton's clients send and read them."""

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hand_model import hand_scores
from web.binary_tensors import HEADER, to_bytes, to_cells

URL = "/v2/models/churn/infer"
EXPECTED = hand_scores([(20, 3, True, "basic"), (None, 4, False, "é")])


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


TAILS = {
    "age": ("FP64", np.array([20, np.nan], "<f8").tobytes()),
    "visits": ("INT64", np.array([3, 4], "<i8").tobytes()),
    "member": ("BOOL", b"\x01\x00"),
    "plan": ("BYTES", texts(b"basic", "é".encode())),
}


def infer(client, changes: dict | None = None, *, header: str | bytes | None = None, more: bytes = b"", **parts):
    """Ask with all inputs in binary, those of `changes` replaced by (datatype, bytes)."""
    tails = TAILS | (changes or {})
    inputs = [
        {"name": name, "shape": [2], "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
        for name, (datatype, tail) in tails.items()
    ]
    head = json.dumps({"inputs": inputs} | parts).encode()
    headers = {} if header == "" else {HEADER: header or str(len(head))}
    return client.post(URL, content=head + b"".join(tail for _, tail in tails.values()) + more, headers=headers)


def test_binary_inputs_are_scored_and_answered_in_json(client) -> None:
    """Whose outputs are not asked for in binary, get JSON: the same as for inputs in JSON."""
    answer = infer(client)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert HEADER not in answer.headers
    assert answer.json()["outputs"][1]["data"] == pytest.approx(EXPECTED, abs=1e-15)


def test_all_outputs_can_be_binary(client) -> None:
    """`binary_data_output` has every output's bytes stand behind the JSON, in order, each with its size."""
    answer = infer(client, parameters={"binary_data_output": True})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    length = int(answer.headers[HEADER])
    label, probability = json.loads(answer.content[:length])["outputs"]
    assert "data" not in label | probability
    tail, split = answer.content[length:], label["parameters"]["binary_data_size"]
    assert label["parameters"] == {"content_type": "str", "binary_data_size": split}
    assert np.frombuffer(tail[split:], "<f8").tolist() == pytest.approx(EXPECTED, abs=1e-15)
    labels = infer(client).json()["outputs"][0]["data"]
    assert tail[:split] == texts(*(label.encode() for label in labels))
    assert probability["parameters"] == {"binary_data_size": 16}


def test_each_output_says_for_itself(client) -> None:
    """An output's own `binary_data` counts; JSON and binary may stand side by side."""
    asked = [
        {"name": "probability_leave", "parameters": {"binary_data": True}},
        {"name": "prediction", "parameters": {"binary_data": False}},
    ]
    answer = infer(client, outputs=asked, parameters={"binary_data_output": True})
    length = int(answer.headers[HEADER])
    probability, label = json.loads(answer.content[:length])["outputs"]
    assert ("data" in probability, len(label["data"])) == (False, 2)
    assert np.frombuffer(answer.content[length:], "<f8").tolist() == pytest.approx(EXPECTED, abs=1e-15)
    assert infer(client, outputs=asked[1:]).headers["content-type"] == "application/json"


def test_json_and_binary_inputs_may_stand_side_by_side(client) -> None:
    """Bytes are those of the inputs that say a size, in order."""
    tails = [TAILS["age"][1], TAILS["member"][1]]
    entries = [
        {"name": "age", "shape": [2, 1], "datatype": "FP64", "parameters": {"binary_data_size": 16}},
        {"name": "visits", "shape": [2, 1], "datatype": "INT64", "data": [3, 4]},
        {"name": "member", "shape": [2, 1], "datatype": "BOOL", "parameters": {"binary_data_size": 2}},
        {"name": "plan", "shape": [2, 1], "datatype": "BYTES", "data": ["basic", "é"]},
    ]
    head = json.dumps({"inputs": entries}).encode()
    answer = client.post(URL, content=head + b"".join(tails), headers={HEADER: str(len(head))}).json()
    probability = answer["outputs"][1]
    assert (probability["shape"], probability["data"]) == ([2, 1], pytest.approx(EXPECTED, abs=1e-15))


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "u8", "f4", "f8"])
def test_numbers_of_any_width_are_read(client, kind: str) -> None:
    """Values count, not their width: whole numbers as fractions, too."""
    datatype = {"i": "INT", "u": "UINT", "f": "FP"}[kind[0]] + str(8 * int(kind[1]))
    answer = infer(client, {"visits": (datatype, np.array([3, 4], f"<{kind}").tobytes())})
    assert answer.json()["outputs"][1]["data"] == pytest.approx(EXPECTED, abs=1e-15)


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"age": ("FP64", b"12345678")}, {}, "input 1 has 8 bytes: 2 of FP64 are 16"),
        ({"age": ("FP32", bytes(16))}, {}, "2 of FP32 are 8"),
        ({"member": ("BOOL", b"\x02\x00")}, {}, "neither 0 nor 1"),
        ({"plan": ("BYTES", texts(b"basic"))}, {}, "input 4 has 1 values where its shape says 2"),
        ({"plan": ("BYTES", texts(b"basic", b"a")[:-1])}, {}, "cut off"),
        ({"plan": ("BYTES", texts(b"basic") + b"\x01\x00")}, {}, "cut off"),
        ({"plan": ("BYTES", texts(b"basic", b"Jane\xff"))}, {}, "a text of input 4 is not UTF-8"),
        ({"age": ("BF16", bytes(4))}, {}, "has no datatype"),
        ({"visits": ("FP64", np.array([3, 4.5]).tobytes())}, {}, "row 2, column 'visits'"),
        ({}, {"header": "-1"}, HEADER),
        ({}, {"header": "x"}, HEADER),
        ({}, {"header": b"\xb2"}, HEADER),
        ({}, {"header": "9" * 30}, HEADER),
        ({}, {"header": "0"}, "is not JSON"),
        ({}, {"header": ""}, "is not JSON"),
        ({}, {"more": b"Jane"}, "4 bytes behind the JSON belong to no input"),
        ({}, {"parameters": {"binary_data_output": 1}}, '"binary_data_output" must be true or false'),
        ({}, {"outputs": [{"name": "prediction", "parameters": {"binary_data": 1}}]}, '"binary_data" must be'),
    ],
)
def test_bytes_that_do_not_fit_are_refused(client, changes, options, says: str) -> None:
    """400 and {"error": …}: which input, and what is wrong with its bytes; never what they hold."""
    answer = infer(client, changes, **options)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert says in answer.json()["error"]
    assert "Jane" not in answer.text


@pytest.mark.parametrize("size", [-1, 17, True, "16", 1.0, [16]])
def test_sizes_that_do_not_fit_are_refused(client, size) -> None:
    """A size is a whole number of bytes that are there; without the header there are none."""
    entry = {"name": "age", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [entry]}).encode()
    for headers in ({HEADER: str(len(head))}, {}):
        answer = client.post(URL, content=head + (bytes(16) if headers else b""), headers=headers)
        assert (answer.status_code, "binary_data_size of input 1" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("rows", [2**63, int("9" * 4300)], ids=["64 bits", "too long to be written"])
def test_a_shape_beyond_all_numbers_is_refused(client, rows: int) -> None:
    """It is said to be none, and not repeated: Python does not even write numbers of so many digits."""
    entry = {"name": "age", "shape": [rows], "datatype": "INT64"}
    for more in ({"parameters": {"binary_data_size": 8}}, {"data": [1]}, {}):
        head = json.dumps({"inputs": [entry | more]}).encode()
        answer = client.post(URL, content=head + bytes(8), headers={HEADER: str(len(head))})
        assert (answer.status_code, answer.json()["error"][:20]) == (400, "input 1 has no shape")


def test_data_that_comes_twice_is_refused(client) -> None:
    """An input has its data in binary or in JSON."""
    entry = {"name": "age", "shape": [0], "datatype": "FP64", "parameters": {"binary_data_size": 0}, "data": []}
    answer = client.post(URL, json={"inputs": [entry]})
    assert (answer.status_code, "twice" in answer.json()["error"]) == (400, True)


CELLS = {
    "BOOL": st.booleans(),
    "BYTES": st.text(),
    **{f"INT{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": st.none() | st.floats(allow_nan=False, width=bits) for bits in (16, 32, 64)},
}


@given(st.data())
def test_cells_survive_the_way_there_and_back(data) -> None:
    """Every datatype's cells are what they were, NaN being no value."""
    datatype = data.draw(st.sampled_from(sorted(CELLS)))
    cells = data.draw(st.lists(CELLS[datatype], max_size=9))
    content = to_bytes(cells, datatype)
    assert content is not None
    assert to_cells(content, datatype, len(cells), "input 1") == cells


@pytest.mark.parametrize("datatype", ["BOOL", "INT64", "BYTES"])
def test_no_value_where_bytes_have_no_word_for_it_stays_json(datatype: str) -> None:
    """Such an output is answered as JSON, beside others in binary."""
    assert to_bytes([None], datatype) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=40), header=st.integers(0, 50), prefix=st.sampled_from([b"", b'{"inputs": []}']))
def test_any_bytes_are_answered(client, content: bytes, header: int, prefix: bytes) -> None:
    """Whatever stands in body and header, the answer is in the protocol's form, and no 500."""
    answer = client.post(URL, content=prefix + content, headers={HEADER: str(header)})
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
