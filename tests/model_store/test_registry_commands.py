"""Commands that check, compare, carry and delete; what is wrong is a line with a code, or a table and code 1."""

import hashlib
import zipfile

import joblib
import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from model_store.packages import FORMAT_VERSION, GRAPH, MANIFEST
from model_store.registry import Registry
from storage import BlobPath
from storage.folder import FolderBlobStore
from tests.hand_model import make_sample


@pytest.fixture
def store(run, packages, tmp_path):
    """Give the blobs of a store with churn@1, its champion, and churn@2."""
    run("add", "churn", packages(-2.0))
    run("add", "churn", packages(-1.0))
    return FolderBlobStore(tmp_path / ".dropscore")


@pytest.mark.usefixtures("store")
def test_a_version_is_deleted_once_no_alias_is_in_the_way(run):
    """The error says what to move; the number is not used again."""
    code, _, err = run("delete", "churn", "1")
    assert (code, err) == (
        1,
        "registry_conflict: churn@1 cannot be deleted while aliases point at it: move churn@champion first\n",
    )
    run("alias", "churn", "champion", "2")
    assert run("delete", "churn", "1") == (0, "churn@1 deleted\n", "")
    assert run("delete", "churn", "1")[2].startswith("model_not_found: there is no churn@1")
    assert "champion -> 2" in run("list")[1]
    assert run("show", "churn")[0] == 0


@pytest.mark.usefixtures("store")
def test_an_alias_is_removed(run):
    """What it pointed at stays."""
    run("alias", "churn", "shadow", "2")
    assert run("unalias", "churn", "shadow") == (0, "churn@shadow removed\n", "")
    assert run("unalias", "churn", "shadow")[2].startswith("model_not_found: there is no churn@shadow")


def test_verify_checks_one_version_or_all(run, store):
    """Every problem in a table and code 1; code 0 where all is sound."""
    assert run("verify")[:2] == (0, "2 versions checked: all sound\n")
    store.write(BlobPath("models", f"churn/2/{GRAPH}"), b"x")
    store.write(BlobPath("models", f"churn/1/{MANIFEST}"), b"x")
    store.write(BlobPath("models", "churn/aliases.json"), b'{"champion": 5}')
    code, out, _ = run("verify")
    assert code == 1
    for text in ("churn@1", "churn@2", "churn@champion", GRAPH, MANIFEST, "2 versions checked: 3 problems"):
        assert text in out
    code, out, _ = run("verify", "churn@2")
    assert (code, "1 version checked: 1 problem" in out, MANIFEST in out) == (1, True, False)
    assert run("verify", "churn@7")[2].startswith("model_not_found")


@pytest.mark.parametrize("kind", ["csv", "parquet", None])
@pytest.mark.usefixtures("store")
def test_diff_shows_how_answers_move(run, tmp_path, kind):
    """On a file of either format, or on the golden rows; rejected rows are counted, other columns ignored."""
    rows = make_sample(500)
    rows = rows.append_column("customer", [[str(n) for n in range(500)]])
    if kind == "csv":
        pyarrow.csv.write_csv(rows, tmp_path / "rows.csv")
        with (tmp_path / "rows.csv").open("a") as file:
            file.write('30,many,true,"pro",501\n')
    elif kind == "parquet":
        pq.write_table(rows, tmp_path / "rows.parquet")
    code, out, err = run("diff", "churn@champion", "churn@2", *([tmp_path / f"rows.{kind}"] if kind else []))
    assert (code, err) == (0, "")
    compared = f"churn@1 -> churn@2 on {f'rows.{kind}' if kind else 'their golden rows'}"
    assert f"{compared}: {500 if kind else 40} rows compared" in out
    for text in ("prediction", "probability_leave", "PSI", "flips"):
        assert text in out
    assert ("rejected by both: 1" in out) == (kind == "csv")


@pytest.mark.usefixtures("store")
def test_a_version_travels_from_one_registry_to_another(run, tmp_path):
    """Exported twice it is the same bytes; imported it is the next version, or the one that is there already."""
    code, out, _ = run("export", "churn@2")
    assert code == 0
    assert "churn@2 -> churn-2.zip" in out
    run("export", "churn@2", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "churn-2.zip").read_bytes()
    there = ("--store", tmp_path / "elsewhere")
    assert run("import", "churn-2.zip", *there) == (0, "churn@1 registered (archived as churn@2)\n", "")
    assert run("import", "churn-2.zip", *there)[1].startswith("churn@1 was registered already: nothing new")
    assert run("import", "churn-2.zip", "--name", "other", *there)[1].startswith("other@1 registered")
    assert run("verify", *there)[:2] == (0, "2 versions checked: all sound\n")
    assert Registry(FolderBlobStore(tmp_path / "elsewhere")).aliases("churn") == {}


def forge(archive, change):
    """Write an archive anew, with the list of (entry, content) that `change` returns."""
    with zipfile.ZipFile(archive) as file:
        members = [(info, file.read(info)) for info in file.infolist()]
    with zipfile.ZipFile(archive, "w") as file:
        for info, content in change(members):
            file.writestr(info, content)


def flip(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def newer(manifest):
    """Seal a manifest as a Dropscore of the year after next might."""
    body = manifest[: manifest.rindex(b',\n  "seal"')]
    body = body.replace(b'"format_version": %d' % FORMAT_VERSION, b'"format_version": %d' % (FORMAT_VERSION + 1))
    return body + b',\n  "seal": "%s"\n}\n' % hashlib.sha256(body).hexdigest().encode()


def with_manifest(change):
    return lambda members: [(i, change(c) if i.filename.endswith(MANIFEST) else c) for i, c in members]


def with_graph(change):
    return lambda members: [(i, change(c) if i.filename.endswith(GRAPH) else c) for i, c in members]


ARCHIVES = {
    "from a newer Dropscore": (with_manifest(newer), "update it"),
    "a flipped byte": (with_graph(flip), "not the file that was packed"),
    "a flipped byte in its manifest": (with_manifest(flip), "changed or cut short"),
    "a graph cut short": (with_graph(lambda content: content[:-10]), "bytes, and"),
    "a name that climbs out": (lambda m: [*m, (zipfile.ZipInfo("../../evil"), b"x")], "nothing was unpacked"),
    "an absolute name": (lambda m: [*m, (zipfile.ZipInfo("/tmp/evil"), b"x")], "nothing was unpacked"),  # noqa: S108
    "not whole": (lambda members: members[:-1], "missing"),
    "empty": (lambda _: [], "does not hold one version"),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_a_bad_archive_registers_nothing(run, packages, tmp_path, what):
    """One line with a code, and not a file in the registry."""
    run("add", "churn", packages(), "--store", tmp_path / "source")
    run("export", "churn", "--store", tmp_path / "source")
    change, reason = ARCHIVES[what]
    forge(tmp_path / "churn-1.zip", change)
    assert_refused(run("import", "churn-1.zip"), "package_invalid", reason, tmp_path)


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


FOLDERS = {
    "a flipped byte": lambda folder: rewrite(folder / GRAPH, flip),
    "a graph cut short": lambda folder: rewrite(folder / GRAPH, lambda content: content[:-10]),
    "no graph": lambda folder: (folder / GRAPH).unlink(),
    "from a newer Dropscore": lambda folder: (folder / MANIFEST).write_bytes(
        newer((folder / MANIFEST).read_bytes())
    ),
    "a file too many": lambda folder: (folder / "evil.sh").write_bytes(b"x"),
    "a link": lambda folder: (folder / "link").symlink_to("/etc/hostname"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_bad_package_registers_nothing(run, copied, tmp_path, what):
    """Damaged, unsafe or too new: one line with a code, and not a file in the registry."""
    FOLDERS[what](copied)
    assert_refused(run("add", "churn", copied), "package_invalid", "", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["add", "../churn", "{package}"], "reference_invalid"),
        (["add", "a/b", "{package}"], "reference_invalid"),
        (["add", "churn", "{package}", "--alias", "../x"], "reference_invalid"),
        (["add", "churn", "{package}", "--alias", "7"], "reference_invalid"),
        (["import", "{package}/MLmodel"], "package_invalid"),
        (["import", "{package}/MLmodel", "--name", "../up"], "reference_invalid"),
        (["export", "churn@1"], "model_not_found"),
        (["export", "../churn"], "reference_invalid"),
        (["verify", "churn"], "model_not_found"),
        (["delete", "churn", "1"], "model_not_found"),
        (["delete", "..", "1"], "reference_invalid"),
        (["unalias", "churn", "champion"], "model_not_found"),
        (["unalias", "churn", "../x"], "reference_invalid"),
        (["diff", "churn@1", "churn@2"], "model_not_found"),
    ],
)
def test_a_bad_name_or_reference_is_a_code_and_registers_nothing(run, packages, tmp_path, arguments, code):
    """Names and references that cannot be, or mean nothing."""
    arguments = [argument.replace("{package}", str(packages())) for argument in arguments]
    assert_refused(run(*arguments), code, "", tmp_path)


ROWS = pd.DataFrame({"age": [20.0, 30.0, None, 50.0] * 10, "visits": [1.0, 2.0, 3.0, 4.0] * 10})
LABELS = ["no", "no", "yes", "yes"] * 10


def fitted(*steps):
    return make_pipeline(*steps).fit(ROWS, LABELS)


ESTIMATORS = {
    "unfitted": (make_pipeline(SimpleImputer(), LogisticRegression()), "age,visits", "estimator_invalid"),
    "no model": ({"weights": [1, 2]}, "age,visits", "estimator_invalid"),
    "an odd step": (fitted(FunctionTransformer(np.isnan), LogisticRegression()), "age,visits", "estimator_invalid"),
    "a column twice": (fitted(SimpleImputer(), LogisticRegression()), "age,visits,age", "sample_invalid"),
    "a column missing": (fitted(SimpleImputer(), LogisticRegression()), "age", "sample_invalid"),
    "a column misspelt": (fitted(SimpleImputer(), LogisticRegression()), "age,visit", "sample_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("what", ESTIMATORS)
def test_a_bad_estimator_or_sample_registers_nothing(run, tmp_path, what):
    """What cannot be converted, or a sample that does not fit it."""
    estimator, header, code = ESTIMATORS[what]
    joblib.dump(estimator, tmp_path / "churn.joblib")
    cells = ",".join("1" for _ in header.split(","))
    (tmp_path / "rows.csv").write_text(header + "\n" + (cells + "\n") * 30)
    refused = run("add", "churn", tmp_path / "churn.joblib", "--sample", tmp_path / "rows.csv", "--trust-pickle")
    assert_refused(refused, code, "", tmp_path)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("rows.csv", "", "file_malformed"),
        ("rows.csv", "age\n3\n", "column_missing"),
        ("rows.parquet", "age\n3\n", "file_malformed"),
        ("rows.json", "{}", "format_unsupported"),
    ],
)
def test_a_file_that_cannot_be_compared_on_is_a_code(run, tmp_path, name, content, code):
    """One line that names the file or the column."""
    (tmp_path / name).write_text(content)
    status, out, err = run("diff", "churn@1", "churn@2", tmp_path / name)
    assert (status, out) == (1, "")
    assert err.startswith(f"{code}: ")
    assert err.count("\n") == 1


def test_help_leads_from_a_pipeline_to_a_served_model(run):
    """The first page names the three commands, and every command says what it is for."""
    code, out, _ = run("--help")
    assert code == 0
    for text in (
        "joblib.dump",
        "model_store add churn churn.joblib",
        "scoring score new.csv",
        "alias churn champion",
    ):
        assert text in " ".join(out.split())
    for command in ("add", "list", "show", "alias", "unalias", "diff", "verify", "export", "import", "delete"):
        assert run(command, "--help")[0] == 0


def assert_refused(result, code, reason, tmp_path):
    """Check for one line with a code, and that there is neither a version nor a file in the registry."""
    status, out, err = result
    assert (status, out) == (1, "")
    assert err.startswith(f"{code}: ")
    assert reason in err
    assert err.count("\n") == 1
    models = tmp_path / ".dropscore" / "models"
    assert [path for path in models.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "evil").exists()
