"""Uncommitted blocks in a folder: one file, put in order on commit."""

from itertools import permutations
from pathlib import Path

import pytest

from storage.folder_staging import Staging

BLOCKS = {"a": b"alpha\n", "b": b"be", "c": b"", "d": b"delta, the longest\n"}


def fill(folder: Path, order: str) -> Staging:
    staging = Staging(folder / "staged")
    for block_id in order:
        staging.add(block_id, BLOCKS[block_id])
    return staging


@pytest.mark.parametrize("order", ["".join(order) for order in permutations(BLOCKS)])
def test_blocks_may_come_in_any_order(tmp_path: Path, order: str) -> None:
    """The blob is the blocks in the order of the commit, however they came; then none is left."""
    staging = fill(tmp_path, order)
    staging.assemble("abcd", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b"".join(BLOCKS.values())
    assert staging.missing("abcd") == 4


def test_a_commit_in_order_copies_nothing(tmp_path: Path) -> None:
    """Blocks that came in order, or overtook a neighbour, are committed in the file they were written to."""
    staging = fill(tmp_path, "bad")
    written = (tmp_path / "staged" / "blocks").stat().st_ino
    staging.assemble("abd", tmp_path / "blob")
    assert (tmp_path / "blob").stat().st_ino == written


def test_blocks_of_others_are_left_out(tmp_path: Path) -> None:
    """Only the blocks named are in the blob: not another run's, nor an earlier try's under the same id."""
    staging = fill(tmp_path, "adb")
    staging.add("d", b"again")
    staging.assemble("da", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b"againalpha\n"


def test_a_block_twice_is_there_twice(tmp_path: Path) -> None:
    """A block may be named more than once."""
    staging = fill(tmp_path, "ab")
    staging.assemble("bb", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b"bebe"


def test_no_blocks_make_an_empty_blob(tmp_path: Path) -> None:
    """A commit of no blocks is a blob of no bytes."""
    fill(tmp_path, "ab").assemble("", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b""


@pytest.mark.parametrize("cut", range(1, 30))
def test_what_a_killed_process_wrote_is_not_believed(tmp_path: Path, cut: int) -> None:
    """A block whose entry in the index is cut short is missing; what comes later is there."""
    staging = fill(tmp_path, "ad")
    index = tmp_path / "staged" / "index"
    entry = len(index.read_bytes()) // 2
    index.write_bytes(index.read_bytes()[: -min(cut, entry)])
    staging.add("b", BLOCKS["b"])
    assert staging.missing("adb") == 1
    staging.assemble("ab", tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == BLOCKS["a"] + BLOCKS["b"]


def test_blocks_are_let_go_where_there_are_no_others(tmp_path: Path) -> None:
    """Nothing is left of them on disk; another writer's, in the same file, keep them there until a commit."""
    staging = fill(tmp_path, "a")
    staging.add("other", b"block")
    staging.drop("o")
    assert staging.missing(["a", "other"]) == 0
    staging = fill(tmp_path / "one", "a")
    staging.add("and", b"block")
    staging.drop("a")
    assert not staging.folder.exists()
    staging.drop("a")
    assert staging.missing(["a", "and"]) == 2
