"""Blob path patterns match as the host's do."""

import pytest

from devhost.blob_paths import compile_pattern
from devhost.errors import StartupError


@pytest.mark.parametrize(
    ("path", "name", "tokens"),
    [
        ("in/{name}", "a/b.csv", {"name": "a/b.csv"}),
        ("in/{name}.csv", "a/b.csv", {"name": "a/b"}),
        ("in/{name}.csv", ".csv", {"name": ""}),
        ("in/{name}.csv", "A.CSV", None),
        ("in/{folder}/{name}.csv", "a/b/c.csv", {"folder": "a/b", "name": "c"}),
        ("in/fixed.txt", "fixed.txt", {}),
        ("in/fixed.txt", "fixedXtxt", None),
        ("in/{{{name}}}.json", "{a}.json", {"name": "a"}),
        ("in", "anything", {"name": "anything"}),
    ],
)
def test_a_pattern_fits_a_name_or_does_not(path, name, tokens):
    """Tokens are greedy, cross slashes and may be empty; case matters; doubled braces are braces."""
    assert compile_pattern(path).match(name) == tokens


def test_a_listing_asks_for_the_literal_start_only():
    """What stands before the first token narrows the listing."""
    assert compile_pattern("in/2026/{month}/x.csv").prefix == "2026/"


@pytest.mark.parametrize("path", ["{container}/x", "/x", "in/{a-b}"])
def test_a_path_that_cannot_work_is_refused(path):
    """A token in the container's name, no container and an odd token are errors at start-up."""
    with pytest.raises(StartupError, match="blob path"):
        compile_pattern(path)
