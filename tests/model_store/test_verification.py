"""`verify` finds every problem of a version, says in which file, and finds none where there is none."""

from dataclasses import replace

import pytest

from errors import ModelNotFoundError, PackageInvalidError
from model_store.packages import FAST_GRAPH, GRAPH, MANIFEST, MLMODEL, FileEntry, read_package
from model_store.packaging import build_package
from model_store.registry import CLAIM
from model_store.verification import verify, verify_aliases
from storage import BlobPath


def at(file):
    return BlobPath("models", f"churn/1/{file}")


@pytest.fixture
def version(registry, packages):
    return registry.add("churn", packages())


def found(registry, version):
    return [(problem.file, problem.message) for problem in verify(registry, version.name, version.version)]


@pytest.mark.usefixtures("version")
def test_a_sound_version_has_no_problems(registry):
    """Its writer's claim lies there too, and is none."""
    assert verify(registry, "churn", 1) == []


def test_every_problem_is_found_at_once(registry, version, blobs):
    """A file changed, one cut short, one gone, one too many: each by its name."""
    content = blobs.read(at(GRAPH))
    blobs.write(at(GRAPH), content[:50] + bytes([content[50] ^ 1]) + content[51:])
    blobs.write(at(MLMODEL), blobs.read(at(MLMODEL))[:-1])
    blobs.delete(at("requirements.txt"))
    blobs.write(at("stranger.txt"), b"hello")
    assert [file for file, _ in found(registry, version)] == [MLMODEL, GRAPH, "requirements.txt", "stranger.txt"]
    reasons = ["bytes, and", "its sha256 is another", "it is missing", "does not belong"]
    for (_, message), reason in zip(found(registry, version), reasons, strict=True):
        assert reason in message
    assert {problem.subject for problem in verify(registry, "churn", 1)} == {"churn@1"}


def test_a_broken_seal_is_found(registry, version, blobs):
    """Nothing else can be known then."""
    manifest = blobs.read(at(MANIFEST))
    blobs.write(at(MANIFEST), manifest.replace(b"0", b"1", 1))
    [(file, message)] = found(registry, version)
    assert file == MANIFEST
    assert "changed or cut short" in message
    blobs.delete(at(MANIFEST))
    assert found(registry, version) == [(MANIFEST, "it is missing")]


@pytest.mark.usefixtures("version")
def test_a_damaged_version_holds_no_other_up(registry, blobs, packages):
    """It is listed and can be deleted, and versions are added beside it; only who wants it is refused."""
    blobs.write(at(MANIFEST), b"damaged")
    assert registry.add("churn", packages(-1.0)).version == 2
    assert [known.version for known in registry.versions("churn")] == [2]
    assert registry.numbers("churn") == [1, 2]
    assert registry.number("churn@1") == 1
    with pytest.raises(PackageInvalidError):
        registry.resolve("churn@1")
    with pytest.raises(ModelNotFoundError):
        registry.number("churn@3")
    registry.delete("churn", 1)
    assert registry.numbers("churn") == [2]


def test_golden_rows_that_fail_are_found(registry, copied):
    """Sealed and whole, but it does not answer as its source did."""
    info = read_package(copied)
    answers = {**info.golden["answers"], "prediction": ["stay"] * 10 + ["leave"] * 10}
    info = replace(info, golden={**info.golden, "answers": answers})
    (copied / MANIFEST).write_bytes(info.to_manifest())
    [(file, message)] = found(registry, registry.add("churn", copied))
    assert file == ""
    assert "golden rows get other answers" in message


def test_a_graph_of_another_model_is_found(registry, packages, copied):
    """Its file and its seal fit; its golden rows give it away."""
    info = read_package(copied)
    files = dict(info.files)
    for graph in {GRAPH, FAST_GRAPH} & files.keys():
        (copied / graph).write_bytes((packages(-1.0) / graph).read_bytes())
        files[graph] = FileEntry.of(copied / graph)
    (copied / MANIFEST).write_bytes(replace(info, files=files).to_manifest())
    [(_, message)] = found(registry, registry.add("churn", copied))
    assert "golden rows get other answers" in message


@pytest.mark.usefixtures("version")
def test_aliases_that_point_at_nothing_and_unfinished_deletions_are_found(registry, blobs):
    """Both come of other means, or of a deletion that died."""
    assert verify_aliases(registry, "churn") == []
    blobs.write(BlobPath("models", "churn/aliases.json"), b'{"champion": 7, "deleting 1": 1}')
    dangling, unfinished = verify_aliases(registry, "churn")
    assert (dangling.subject, unfinished.subject) == ("churn@champion", "churn@1")
    assert "version 7, which is not there" in dangling.message
    assert "delete churn 1" in unfinished.message
    assert CLAIM not in registry.stored("churn", 1)


def test_what_is_built_verifies(registry, conversion, tmp_path):
    """From a conversion to a registered version without a problem."""
    build_package(conversion, tmp_path / "built")
    registry.add("built", tmp_path / "built")
    assert verify(registry, "built", 1) == []
