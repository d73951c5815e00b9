"""The signature in an MLmodel file."""

import json
import sys

import pytest
import yaml

from errors import PackageInvalidError
from model_store.mlmodel import read_mlmodel

TEXTS = [
    '[{"type": "double", "name": "age", "required": true}]',
    "[{\"name\": \"it's ''quoted''\"}]",
    json.dumps([{"name": "größe 尺寸"}], ensure_ascii=False),
    '[{"name": "two\nlines"}]',
    '[{"name": "tab\t, bell\a"}]',
    json.dumps([{"name": f"n{place}"} for place in range(2_000)]),
    "[]",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [80, 10_000])
def test_the_signature_is_what_yaml_reads(text: str, width: int) -> None:
    """Whatever its texts hold, and however its lines are folded."""
    entry = {"inputs": text, "outputs": TEXTS[0]}
    content = {"artifact_path": "model", "signature": entry, "z": "signature:\n  inputs: 'x'\n  outputs: 'y'\n"}
    written = yaml.safe_dump(content, allow_unicode=True, width=width).encode()
    assert yaml.safe_load(written)["signature"] == entry
    assert read_mlmodel(written) == entry


@pytest.mark.parametrize("rest", [b"  params: null\n", b"signature:\n  inputs: 'c'\n  outputs: 'd'\n", b""])
def test_a_signature_written_by_others_is_read(rest: bytes) -> None:
    """With more entries, or twice: the last one counts, as for MLflow."""
    written = b"signature:\n  inputs: 'a'\n  outputs: 'b'\n" + rest
    entry = yaml.safe_load(written)["signature"]
    assert read_mlmodel(written) == {side: entry[side] for side in ("inputs", "outputs")}


@pytest.mark.parametrize("written", [b"", b"signature: 1\n", b"signature:\n  inputs: 'a'\n", b"a: [\n"])
def test_no_signature_is_refused(written: bytes) -> None:
    """A file without one cannot be a model's."""
    with pytest.raises(PackageInvalidError, match="no signature"):
        read_mlmodel(written)


def test_our_own_needs_no_yaml(packages, monkeypatch) -> None:
    """The MLmodel of a package is read without importing yaml, which a start would wait for."""
    mlmodel = (packages() / "MLmodel").read_bytes()
    expected = yaml.safe_load(mlmodel)["signature"]
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read_mlmodel(mlmodel) == {side: expected[side] for side in ("inputs", "outputs")}
