"""What is particular to folders: files dropped by hand, names of files, and several processes."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError, NameInvalidError, StorageDeniedError
from settings import Settings
from storage import ANY_ETAG, BlobPath, QueueMessage, Storage, open_storage
from storage.files import locked
from storage.folder import FolderBlobStore

ROOT = Path(__file__).parents[2]
PATH = BlobPath("incoming", "churn/a.csv")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def folder(root: Path) -> Storage:
    """Give a folder storage with one empty container."""
    storage = open_storage(Settings(folder=str(root)))
    storage.blobs.create_container("incoming")
    return storage


def snapshot(root: Path) -> dict[Path, bytes]:
    """Return every file under and beside `root`, with its content."""
    return {file: file.read_bytes() for file in root.parent.rglob("*") if file.is_file()}


def test_a_blob_is_a_file(folder: Storage, root: Path) -> None:
    """A blob is the file its path names, and its container holds nothing else."""
    folder.blobs.write(PATH, b"rows", metadata={"run": "1"})
    folder.blobs.stage_block(PATH, "0", b"more")
    assert [file for file in (root / "incoming").rglob("*") if file.is_file()] == [root / "incoming/churn/a.csv"]
    assert (root / "incoming/churn/a.csv").read_bytes() == b"rows"


def test_a_file_dropped_by_hand_is_a_blob(folder: Storage, root: Path) -> None:
    """A file put into a container, even one made by hand, is listed, read, replaced and deleted like any blob."""
    (root / "by-hand/churn").mkdir(parents=True)
    (root / "by-hand/churn/a.csv").write_bytes(b"rows")
    [blob] = folder.blobs.list("by-hand")
    assert blob == folder.blobs.stat(blob.path)
    assert folder.blobs.read(blob.path, if_match=blob.etag) == b"rows"
    folder.blobs.write(blob.path, b"new", if_match=blob.etag)
    folder.blobs.delete(blob.path)
    assert list(folder.blobs.list("by-hand")) == []
    assert (root / "by-hand/churn").is_dir()  # where its owner will drop the next file


@pytest.mark.parametrize("how", ["copy", "move", "edit"])
def test_a_replacement_by_hand_is_another_version(folder: Storage, root: Path, how: str) -> None:
    """A file replaced by hand has another ETag, and the metadata of the old version is not its own."""
    etag = folder.blobs.write(PATH, b"old", metadata={"run": "1"})
    file, other = root / "incoming/churn/a.csv", root / "other.csv"
    other.write_bytes(b"new")
    if how == "copy":
        shutil.copy(other, file)
    elif how == "move":
        other.replace(file)
    else:
        file.write_bytes(b"new")
    assert folder.blobs.stat(PATH).etag != etag
    assert folder.blobs.stat(PATH).metadata == {}
    with pytest.raises(ConditionFailedError):
        folder.blobs.read(PATH, if_match=etag)
    with pytest.raises(ConditionFailedError):
        folder.blobs.write(PATH, b"mine", if_match=etag)


def test_links(folder: Storage, root: Path, tmp_path: Path) -> None:
    """A link to a file is a blob that can be read, and written without touching what it links to."""
    large = tmp_path / "large.csv"
    large.write_bytes(b"rows")
    (root / "incoming/large.csv").symlink_to(large)
    path = BlobPath("incoming", "large.csv")
    assert [blob.path for blob in folder.blobs.list("incoming")] == [path]
    assert folder.blobs.read(path, if_match=folder.blobs.stat(path).etag) == b"rows"
    folder.blobs.write(path, b"new")
    assert large.read_bytes() == b"rows"


def test_links_to_folders_lead_nowhere(folder: Storage, root: Path, tmp_path: Path) -> None:
    """A link to a folder outside is neither listed nor followed."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.csv").write_bytes(b"secret")
    (root / "incoming/out").symlink_to(tmp_path / "secret")
    before = snapshot(root)
    path = BlobPath("incoming", "out/a.csv")
    for use in (
        lambda: folder.blobs.read(path),
        lambda: folder.blobs.write(path, b"x"),
        lambda: folder.blobs.delete(path),
        lambda: folder.blobs.stage_block(path, "0", b"x"),
    ):
        with pytest.raises(NameInvalidError, match="link"):
            use()
    assert list(folder.blobs.list("incoming")) == []
    assert snapshot(root) == before


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("incoming", "../escaped.csv"),
        ("incoming", "churn/../../escaped.csv"),
        ("incoming", "/etc/escaped.csv"),
        ("incoming", "churn//escaped.csv"),
        ("incoming", "escaped.csv/"),
        ("incoming", "..\\escaped.csv"),
        ("incoming", "C:\\escaped.csv"),
        ("incoming", "nul\0.csv"),
        ("incoming", "s" * 256),
        ("incoming", "ü" * 128),
        (".dropscore", "locks/escaped.csv"),
        ("..", "escaped.csv"),
        ("incoming/churn", "escaped.csv"),
    ],
)
def test_names_that_would_escape(folder: Storage, root: Path, container: str, name: str) -> None:
    """A name that leads elsewhere, or that no disk can hold, is refused and nothing is touched."""
    folder.blobs.write(PATH, b"rows")
    before = snapshot(root)
    path = BlobPath(container, name)
    for use in (
        lambda: folder.blobs.write(path, b"x"),
        lambda: folder.blobs.read(path),
        lambda: folder.blobs.stat(path),
        lambda: folder.blobs.delete(path),
        lambda: folder.blobs.stage_block(path, "0", b"x"),
        lambda: folder.blobs.commit_blocks(path, []),
    ):
        with pytest.raises(NameInvalidError):
            use()
    assert snapshot(root) == before


def test_a_blob_under_a_blob(folder: Storage) -> None:
    """A blob cannot be a folder too: writing `a/b` beside `a`, or `a` beside `a/b`, says so and changes nothing."""
    blobs = folder.blobs
    blobs.write(BlobPath("incoming", "a"), b"a")
    for name in ("a/b", "a/b/c"):
        with pytest.raises(NameInvalidError, match="a blob itself"):
            blobs.write(BlobPath("incoming", name), b"")
        with pytest.raises(BlobNotFoundError):
            blobs.stat(BlobPath("incoming", name))
    blobs.write(BlobPath("incoming", "b/c/d"), b"d")
    for name in ("b", "b/c"):
        with pytest.raises(NameInvalidError, match="blobs under it"):
            blobs.write(BlobPath("incoming", name), b"")
        with pytest.raises(BlobNotFoundError):
            blobs.read(BlobPath("incoming", name))
    assert [str(blob.path) for blob in blobs.list("incoming")] == ["incoming/a", "incoming/b/c/d"]


def test_an_empty_folder_gives_way(folder: Storage) -> None:
    """Folders that held deleted blobs are in nobody's way."""
    folder.blobs.write(BlobPath("incoming", "a/b/c"), b"")
    folder.blobs.delete(BlobPath("incoming", "a/b/c"))
    folder.blobs.write(BlobPath("incoming", "a"), b"a", if_none_match=ANY_ETAG)
    assert folder.blobs.read(BlobPath("incoming", "a")) == b"a"


def test_a_pipe_is_no_blob(folder: Storage, root: Path) -> None:
    """What is not a plain file is no blob, and nobody waits for it."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes on this system")
    os.mkfifo(root / "incoming/pipe.csv")
    with pytest.raises(BlobNotFoundError):
        folder.blobs.read(BlobPath("incoming", "pipe.csv"))
    assert list(folder.blobs.list("incoming")) == []


def test_permissions(folder: Storage, root: Path) -> None:
    """A file that may not be read says so."""
    folder.blobs.write(PATH, b"rows")
    file = root / "incoming/churn/a.csv"
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("root may read everything")
    with pytest.raises(StorageDeniedError, match="permissions"):
        folder.blobs.read(PATH)


def test_a_failed_write_leaves_nothing(folder: Storage, root: Path) -> None:
    """A write that fails halfway removes what it has written so far."""
    folder.blobs.write(BlobPath("incoming", "a"), b"a")
    with pytest.raises(NameInvalidError):
        folder.blobs.write(BlobPath("incoming", "a/b"), bytes(1000))
    assert not [file for file in (root / ".dropscore/new").rglob("*") if file.is_file()]


def test_what_a_killed_process_left(folder: Storage, root: Path) -> None:
    """A half-written version that a killed process has left does not disturb the next one."""
    folder.blobs.stage_block(PATH, "0", b"rows")
    [staged] = (root / ".dropscore/staged/incoming").iterdir()
    (root / ".dropscore/new/incoming").mkdir(parents=True, exist_ok=True)
    (root / ".dropscore/new/incoming" / staged.name).write_bytes(b"half a version")
    folder.blobs.commit_blocks(PATH, ["0"])
    assert folder.blobs.read(PATH) == b"rows"
    assert list((root / ".dropscore/staged/incoming").iterdir()) == []
    assert list((root / ".dropscore/new/incoming").iterdir()) == []


class KilledError(BaseException):
    """Ends a process in the middle."""


@pytest.mark.parametrize("commit", [["0"], ["0", "0"]], ids=["moved", "copied"])
def test_a_process_killed_while_it_commits_leaves_no_wrong_blocks(
    folder: Storage, monkeypatch: pytest.MonkeyPatch, commit: list[str]
) -> None:
    """Once the blocks' file is gone, its blocks are missing, and not taken from what others stage after it."""
    folder.blobs.stage_block(PATH, "0", b"rows")

    def move(file: Path, target: Path) -> None:
        shutil.move(file, target)
        raise KilledError

    def remove(tree: Path) -> None:
        (tree / "blocks").unlink()
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", move)
        patched.setattr(shutil, "rmtree", remove)
        with pytest.raises(KilledError):
            folder.blobs.commit_blocks(PATH, commit)
    folder.blobs.stage_block(PATH, "1", b"other rows")
    with pytest.raises(BlocksMissingError):
        folder.blobs.commit_blocks(PATH, ["0", "1"])
    folder.blobs.commit_blocks(PATH, ["1"])
    assert folder.blobs.read(PATH) == b"other rows"


def test_listing_while_files_go(folder: Storage, root: Path) -> None:
    """A file or folder that goes while a listing is under way is left out."""
    for name in ("a", "b/1", "b/2", "c"):
        folder.blobs.write(BlobPath("incoming", name), b"")
    listing = folder.blobs.list("incoming")
    assert next(listing).path.name == "a"
    shutil.rmtree(root / "incoming/b")
    (root / "incoming/c").unlink()
    assert list(listing) == []


def test_a_lock_is_held_alone(tmp_path: Path) -> None:
    """Of two threads that want one lock, the second gets it when the first lets go."""
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with locked(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        waiting.wait()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def run_processes(count: int, script: str, *arguments: str) -> list[list[str]]:
    """Run `script` in `count` processes that start their work together, and return the words each one printed."""
    prelude = """
import sys
from errors import *
from settings import Settings
from storage import *
storage = open_storage(Settings(folder=sys.argv[1]))
number = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + script, *arguments, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    words = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return words


def test_processes_race_to_be_first(folder: Storage, root: Path) -> None:
    """Of two processes that write the same names with If-None-Match, exactly one wins each name."""
    script = """
for name in range(100):
    try:
        storage.blobs.write(BlobPath("incoming", str(name)), b"%d" % number, if_none_match=ANY_ETAG)
        print(name)
    except ConditionFailedError:
        pass
"""
    won = run_processes(2, script, str(root))
    assert sorted(won[0] + won[1]) == sorted(str(name) for name in range(100))
    for number in range(2):
        assert all(folder.blobs.read(BlobPath("incoming", name)) == b"%d" % number for name in won[number])


def test_processes_add_to_one_counter(folder: Storage, root: Path) -> None:
    """Two processes that add to one blob with If-Match lose no addition."""
    folder.blobs.write(PATH, b"0")
    script = """
path, added = BlobPath("incoming", "churn/a.csv"), 0
while added < 50:
    etag = storage.blobs.stat(path).etag
    try:
        storage.blobs.write(path, b"%d" % (int(storage.blobs.read(path, if_match=etag)) + 1), if_match=etag)
        added += 1
    except ConditionFailedError:
        pass
"""
    run_processes(2, script, str(root))
    assert folder.blobs.read(PATH) == b"100"


def test_processes_commit_blocks(folder: Storage, root: Path) -> None:
    """Two processes that commit their own blocks to one blob never mix them, and are told when theirs are lost."""
    script = """
path = BlobPath("incoming", "churn/a.csv")
for turn in range(30):
    ids = [f"{number}-{turn:02d}-{part}" for part in range(3)]
    try:
        for block_id in ids:
            storage.blobs.stage_block(path, block_id, block_id.encode() + b" ")
        storage.blobs.commit_blocks(path, ids)
        print("committed")
    except BlocksMissingError:
        print("missing")
    assert len({part.rpartition("-")[0] for part in storage.blobs.read(path).decode().split()}) == 1
"""
    words = run_processes(2, script, str(root))
    assert {*words[0], *words[1]} <= {"committed", "missing"}
    assert "committed" in words[0] + words[1]
    with pytest.raises(BlocksMissingError):
        folder.blobs.commit_blocks(PATH, ["0-00-0"])


def test_processes_share_a_queue(folder: Storage, root: Path) -> None:
    """Two processes that empty one queue receive each message once."""
    folder.queues.create_queue("jobs")
    for job in range(100):
        folder.queues.send("jobs", str(job))
    script = """
while batch := storage.queues.receive("jobs", limit=2, lease=60):
    for message in batch:
        assert message.dequeue_count == 1
        storage.queues.delete("jobs", message)
        print(message.body)
"""
    received = run_processes(2, script, str(root))
    assert sorted(received[0] + received[1]) == sorted(str(job) for job in range(100))
    assert list((root / ".dropscore/queues/jobs").iterdir()) == []


def test_receipts_are_not_paths(folder: Storage) -> None:
    """A receipt that somebody made up deletes nothing."""
    folder.queues.create_queue("jobs")
    folder.blobs.write(PATH, b"rows")
    for receipt in ("../../../incoming/churn/a.csv", "", "."):
        with pytest.raises(ConditionFailedError):
            folder.queues.delete("jobs", QueueMessage("1", "", receipt, 1))
    assert folder.blobs.read(PATH) == b"rows"


def test_a_link_is_the_file_it_names(root: Path, tmp_path: Path) -> None:
    """A linked blob is read from the file itself and changes as that does; a write replaces the link alone."""
    blobs = FolderBlobStore(root)
    blobs.create_container("incoming")
    file = tmp_path / "mine.csv"
    file.write_bytes(b"one")
    blobs.link(PATH, file)
    etag = blobs.stat(PATH).etag
    assert blobs.read(PATH, if_match=etag) == b"one"
    file.write_bytes(b"three")
    with pytest.raises(ConditionFailedError):
        blobs.read(PATH, if_match=etag)
    blobs.write(PATH, b"ours")
    assert file.read_bytes() == b"three"
    blobs.link(PATH, file)
    file.unlink()
    with pytest.raises(BlobNotFoundError):
        blobs.stat(PATH)


def test_a_blob_is_not_linked_to_itself(root: Path) -> None:
    """Linking a blob to its own file leaves it as it is."""
    blobs = FolderBlobStore(root)
    blobs.create_container("incoming")
    blobs.write(PATH, b"rows")
    blobs.link(PATH, root / "incoming/churn/a.csv")
    assert not (root / "incoming/churn/a.csv").is_symlink()
    assert blobs.read(PATH) == b"rows"
