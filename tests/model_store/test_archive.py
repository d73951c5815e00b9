"""A version travels as one file; an archive from anywhere is a package, or an error before anything is written."""

import random
import stat
import zipfile
from pathlib import Path

import pytest

from errors import PackageInvalidError
from model_store.archive import MAX_FILES, Origin, read_archive, write_archive
from model_store.packages import GRAPH, MANIFEST, MLMODEL, read_package
from model_store.registry import ModelVersion

VERSION = ModelVersion("churn", 3, "0" * 64)


@pytest.fixture
def archive(packages, tmp_path):
    """Return a sound archive."""
    path = tmp_path / "churn-3.zip"
    write_archive(VERSION, packages(), path)
    return path


@pytest.fixture
def target(tmp_path):
    """Return an empty folder, deep enough to climb out of."""
    folder = tmp_path / "deep" / "target"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def forged(packages, tmp_path):
    """Make archives of the package's files, after `change` had its way with the list of (entry, content)."""

    def make(change=lambda members: members, compress=zipfile.ZIP_DEFLATED) -> Path:
        members = [(zipfile.ZipInfo(f"churn/3/{path.name}"), path.read_bytes()) for path in packages().iterdir()]
        path = tmp_path / "forged.zip"
        with zipfile.ZipFile(path, "w") as file:
            for info, content in change(members):
                file.writestr(info, content, compress)
        return path

    return make


def member(name, content=b"x", mode=0):
    info = zipfile.ZipInfo(name)
    info.filename = info.orig_filename = name  # zipfile would tidy some of them
    info.external_attr = mode << 16
    return info, content


def test_a_package_comes_back_as_it_was(packages, archive, target):
    """Every file, byte for byte, and where it came from."""
    assert read_archive(archive, target) == Origin("churn", 3)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        path.name: path.read_bytes() for path in packages().iterdir()
    }
    read_package(target)


def test_the_same_version_makes_the_same_bytes(packages, archive, tmp_path):
    """Whenever and from whatever copy it is made; and it replaces the file there was, leaving nothing beside it."""
    again = tmp_path / "again" / "churn-3.zip"
    again.parent.mkdir()
    again.write_bytes(b"older")
    write_archive(VERSION, packages(), again)
    assert again.read_bytes() == archive.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["churn-3.zip"]


def test_other_tools_can_unpack_it(archive, tmp_path):
    """It is an ordinary zip of plain files."""
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        assert file.namelist()[0] == f"churn/3/{MANIFEST}"
        assert {info.external_attr >> 16 for info in file.infolist()} == {stat.S_IFREG | 0o644}
        file.extractall(tmp_path / "unpacked")
    read_package(tmp_path / "unpacked" / "churn" / "3")


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (member("../evil.txt"), "no <name>/<version>/<file>"),
        (member("churn/3/../../evil.txt"), "no <name>/<version>/<file>"),
        (member("/etc/evil.txt"), "no <name>/<version>/<file>"),
        (member("C:\\evil.txt"), "no <name>/<version>/<file>"),
        (member("churn/3/..\\evil.txt"), "no <name>/<version>/<file>"),
        (member("churn/3/sub/evil.txt"), "no <name>/<version>/<file>"),
        (member("churn/3/"), "no <name>/<version>/<file>"),
        (member("churn/3/.hidden"), "no <name>/<version>/<file>"),
        (member("churn/3/a\nb"), "no <name>/<version>/<file>"),
        (member("churn/0/model.onnx"), "no <name>/<version>/<file>"),
        (member("../3/more.txt"), "does not hold one version"),
        (member("churn/4/more.txt"), "does not hold one version"),
        (member("other/3/more.txt"), "does not hold one version"),
        (member("churn/3/link", b"/etc/passwd", stat.S_IFLNK | 0o777), "no plain file"),
        (member("churn/3/device", b"", stat.S_IFCHR | 0o666), "no plain file"),
        (member("churn/3/pipe", b"", stat.S_IFIFO | 0o666), "no plain file"),
        (member(f"churn/3/{GRAPH}"), "twice"),
        (member("churn/3/stranger.txt"), "does not belong"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_are_no_package_are_refused_before_anything_is_written(forged, target, extra, reason):
    """Names that climb out, links and devices, duplicates, strangers: the target stays empty, and all around it."""
    with pytest.raises(PackageInvalidError, match=reason):
        read_archive(forged(lambda members: [*members, extra]), target)
    assert list(target.iterdir()) == []
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", ["..", ".", "a..b", "-x", "x" * 65, "a b"])
def test_archived_names_that_are_no_names_are_refused(packages, target, tmp_path, name):
    """The first folder names the model: it must be a name that could be registered."""
    path = tmp_path / "odd.zip"
    write_archive(ModelVersion(name, 3, ""), packages(), path)
    with pytest.raises(PackageInvalidError, match=r"names no model|no <name>"):
        read_archive(path, target)
    assert list(target.iterdir()) == []


def test_too_many_or_too_large_entries_are_refused(forged, target):
    """A bomb is told by what it says of itself: no more is ever unpacked than that."""
    with pytest.raises(PackageInvalidError, match=f"at most {MAX_FILES}"):
        read_archive(forged(lambda _: [member(f"churn/3/f{n}") for n in range(MAX_FILES + 1)]), target)

    def inflated(members):
        return [
            (info, bytes(50_000_000) if info.filename.endswith(GRAPH) else content) for info, content in members
        ]

    bomb = forged(inflated)
    assert bomb.stat().st_size < 200_000
    with pytest.raises(PackageInvalidError, match=r"model\.onnx in the archive has 50,000,000 bytes"):
        read_archive(bomb, target)

    def long_manifest(members):
        return [(info, bytes(17 * 1024**2) if info.filename.endswith(MANIFEST) else c) for info, c in members]

    with pytest.raises(PackageInvalidError, match="larger than"):
        read_archive(forged(long_manifest), target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("missing", [MANIFEST, MLMODEL, GRAPH])
def test_a_package_that_is_not_whole_is_refused(forged, target, missing):
    """Without its manifest, or a file that this lists."""
    path = forged(
        lambda members: [(info, content) for info, content in members if not info.filename.endswith(missing)]
    )
    with pytest.raises(PackageInvalidError, match=r"does not hold one version|missing from the archive"):
        read_archive(path, target)
    assert list(target.iterdir()) == []


def test_unusual_packing_is_refused(forged, target):
    """Only what every zip tool can do; others cost memory that nobody can foresee."""
    with pytest.raises(PackageInvalidError, match="unusual"):
        read_archive(forged(compress=zipfile.ZIP_LZMA), target)
    assert read_archive(forged(compress=zipfile.ZIP_STORED), target) == Origin("churn", 3)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all", None])
def test_what_is_no_zip_is_refused(target, tmp_path, content):
    """Empty, cut short, something else, or not there."""
    path = tmp_path / "no.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PackageInvalidError, match=r"no\.zip"):
        read_archive(path, target)


def test_a_flipped_byte_is_refused_or_harmless(archive, target, packages):
    """Three hundred random positions: an error of ours, or the very same package (dates and such do not count)."""
    content, drawn = archive.read_bytes(), random.Random(5)  # noqa: S311  # a test's positions are no secret
    whole = {path.name: path.read_bytes() for path in packages().iterdir()}
    refused = 0
    for _ in range(300):
        at = drawn.randrange(len(content))
        archive.write_bytes(content[:at] + bytes([content[at] ^ drawn.randrange(1, 256)]) + content[at + 1 :])
        try:
            read_archive(archive, target)
        except PackageInvalidError:
            refused += 1
        else:
            assert {path.name: path.read_bytes() for path in target.iterdir()} == whole
        for path in target.iterdir():
            path.unlink()
    assert refused > 200
    archive.write_bytes(content[:-30])
    with pytest.raises(PackageInvalidError):
        read_archive(archive, target)
