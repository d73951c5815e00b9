"""Graphs become bytes, or an error that says why they cannot."""

import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx import helper

from errors import EstimatorInvalidError
from model_store.convert.graph import serialise


class Enormous:
    """A graph above protobuf's bound, which does as those of onnx do then (tried with one of 2.2 GB)."""

    def SerializeToString(self, *, deterministic: bool) -> bytes:  # noqa: N802  # protobuf's name
        raise EncodeError(f"Failed to serialize proto ({deterministic=})")


def test_a_graph_above_two_gigabytes_is_refused_by_a_clear_error():
    """Protobuf's own message would tell nobody what to do."""
    with pytest.raises(EstimatorInvalidError, match="larger than 2 GB"):
        serialise(Enormous())


def test_a_graph_becomes_the_bytes_it_is_read_from():
    """What fits is written whole."""
    model = helper.make_model(helper.make_graph([], "empty", [], []))
    assert onnx.ModelProto.FromString(serialise(model)) == model
