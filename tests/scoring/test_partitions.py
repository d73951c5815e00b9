"""Columns that stand in a file's path, as Hive and Spark write them."""

from datetime import datetime
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from errors import ColumnTypeError, NameInvalidError
from model_store import Column, ColumnType, Signature
from scoring.partitions import read_partitions
from storage import BlobPath
from tests.hand_model import hand_scores

ROWS = [(20.0, 3, True, "basic"), (None, 4, True, "basic"), (30.5, 2, True, "basic")]
FOLDERS = "sales/plan=basic/member=true"
TABLE = pa.table({"age": [row[0] for row in ROWS], "visits": [row[1] for row in ROWS]})
CSV = b"age,visits\n20.0,3\n,4\n30.5,2\n"


def scores(data: bytes, name: str) -> list[float]:
    if name.endswith(".parquet"):
        return pq.read_table(BytesIO(data))["probability_leave"].to_pylist()
    return [float(line.rpartition(b",")[2]) for line in data.splitlines() if not line.startswith(b"age")]


def test_columns_come_from_the_path(drop, parquet) -> None:
    """Columns that the file lacks are those of its path, in CSV and Parquet; the result has the same path."""
    for name, data in (("part-0.csv", CSV), ("part-0.parquet", parquet(TABLE))):
        receipt = drop(f"{FOLDERS}/{name}", data)
        assert receipt.output == f"scored/churn/{FOLDERS}/{name}", receipt.error
        result = drop.result(receipt)
        assert scores(result, name) == pytest.approx(hand_scores(ROWS), abs=1e-15)
    assert pq.read_table(BytesIO(result)).column_names == ["age", "visits", "prediction", "probability_leave"]


def test_a_file_without_a_header_need_not_have_them(drop) -> None:
    """Its columns are the model's inputs in order, without those of the path; or all of them, if it has so many."""
    body = CSV.partition(b"\n")[2]
    receipt = drop(f"{FOLDERS}/a.csv", body, csv={"header": False})
    assert scores(drop.result(receipt), "a.csv") == pytest.approx(hand_scores(ROWS), abs=1e-15)
    receipt = drop(f"{FOLDERS}/c.csv", body.replace(b",", b";"), csv={"header": False})
    assert receipt.rows["scored"] == 3, receipt.error
    receipt = drop(f"{FOLDERS}/b.csv", b"20.0,3,false,zzz\n", csv={"header": False})
    assert scores(drop.result(receipt), "b.csv") == pytest.approx(hand_scores([(20.0, 3, False, "zzz")]), abs=1e-15)


def test_the_files_own_column_counts(drop) -> None:
    """Where file and path both have a column, the file's cells are taken."""
    receipt = drop("plan=pro/member=0/a.csv", b"age,visits,plan,x\n20.0,3,basic,1\n")
    expected = hand_scores([(20.0, 3, False, "basic")])
    assert scores(drop.result(receipt), "a.csv") == pytest.approx(expected, abs=1e-15)


def test_rejects_keep_the_path_too(drop, parquet) -> None:
    """Rejected rows lie below the same folders, so that they can be mended and dropped again."""
    table = TABLE.set_column(1, "visits", pa.array([1.5, 2, 3]))
    for name, data in (("a.csv", b"age,visits\n1,x\n2,3\n"), ("a.parquet", parquet(table))):
        receipt = drop(f"{FOLDERS}/{name}", data, error_threshold=-1)
        assert (receipt.rejects, receipt.reject_codes) == (f"rejected/churn/{FOLDERS}/{name}", {"value_type": 1})


def read(folders: str, *columns: Column) -> dict[str, object]:
    path = BlobPath("incoming", f"churn/{folders}/a.csv")
    partitions = read_partitions(path, Signature(columns, ()), ("own",))
    return {name: cells.to_pylist() for name, cells in partitions.columns(2).items()}


def of(kind: ColumnType) -> Column:
    return Column("x", kind)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("DE", ColumnType.STRING, "DE"),
        ("a%2Fb%3Dc%20%25", ColumnType.STRING, "a/b=c %"),
        ("M%C3%BCnchen", ColumnType.STRING, "München"),
        ("a=b", ColumnType.STRING, "a=b"),
        ("", ColumnType.STRING, ""),
        ("NA", ColumnType.STRING, "NA"),
        ("__HIVE_DEFAULT_PARTITION__", ColumnType.STRING, None),
        ("__HIVE_DEFAULT_PARTITION__", ColumnType.LONG, None),
        ("007", ColumnType.LONG, 7),
        ("3.0", ColumnType.INTEGER, 3),
        ("1e3", ColumnType.DOUBLE, 1000.0),
        ("TRUE", ColumnType.BOOLEAN, True),
        ("2026-11-01", ColumnType.DATETIME, datetime(2026, 11, 1)),  # noqa: DTZ001  # columns hold UTC without saying so
        ("2026-11-01 10%3A00%3A00%2B02%3A00", ColumnType.DATETIME, datetime(2026, 11, 1, 8)),  # noqa: DTZ001  # as above
    ],
)
def test_texts_are_read_as_cells_are(text: str, kind: ColumnType, value: object) -> None:
    """Percent-decoded, then read by the signature's type; only Hive's own word is null."""
    assert read(f"x={text}", of(kind)) == {"x": [value, value]}


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("DE", of(ColumnType.LONG)),
        ("NA", of(ColumnType.DOUBLE)),
        ("", of(ColumnType.DATETIME)),
        ("3000000000", of(ColumnType.INTEGER)),
        ("__HIVE_DEFAULT_PARTITION__", Column("x", ColumnType.STRING, nullable=False)),
        ("FR", Column("x", ColumnType.STRING, allowed=("DE", "AT"))),
        ("1e9", Column("x", ColumnType.DOUBLE, limit=1e6)),
    ],
)
def test_a_value_that_does_not_fit_fails_the_file(text: str, column: Column) -> None:
    """It is wrong for every row: one error says so, with column and path."""
    with pytest.raises(ColumnTypeError, match="in its path") as caught:
        read(f"x={text}", column)
    assert (caught.value.column, caught.value.file) == ("x", f"incoming/churn/x={text}/a.csv")


def test_only_folders_and_only_what_is_needed() -> None:
    """A file's name is no folder, the file's own columns and unknown ones are left alone, names are decoded too."""
    columns = (Column("own", ColumnType.LONG), Column("a b", ColumnType.LONG), Column("z", ColumnType.LONG))
    assert read("own=1/a%20b=2/other=3/z", *columns) == {"a b": [2, 2]}
    path = BlobPath("incoming", "churn/z=1.csv")
    assert read_partitions(path, Signature(columns, ()), ()).cells == {}


def test_a_path_that_contradicts_itself_is_refused(drop) -> None:
    """Two folders of one name and two values are an error if the model needs the column, and nothing otherwise."""
    assert read("x=1/x=1", of(ColumnType.LONG)) == {"x": [1, 1]}
    with pytest.raises(NameInvalidError, match="different values"):
        read("x=1/x=2", of(ColumnType.LONG))
    receipt = drop("plan=pro/plan=basic/member=true/a.csv", CSV)
    assert receipt.error
    assert receipt.error["code"] == "name_invalid"


def test_a_column_in_neither_is_still_missing(drop, parquet) -> None:
    """What is in neither file nor path is missing."""
    for name, data in (("a.csv", CSV), ("a.parquet", parquet(TABLE))):
        receipt = drop(f"plan=pro/{name}", data)
        assert receipt.error
        assert (receipt.error["code"], receipt.error["column"]) == ("column_missing", "member")


@pytest.mark.parametrize("keep", ["all", "none", ["id"]])
def test_all_columns_may_stand_in_the_path(drop, parquet, keep) -> None:
    """A file that has none of the model's columns is scored too, row for row."""
    folders = "age=20.0/visits=3/member=true/plan=basic"
    for name, data in (("a.csv", b"id\n1\n2\n"), ("a.parquet", parquet(pa.table({"id": [1, 2]})))):
        result = drop.result(drop(f"{folders}/{name}", data, keep=keep))
        lines = result if name.endswith(".parquet") else result.partition(b"\n")[2]
        assert scores(lines, name) == pytest.approx(hand_scores([ROWS[0]]) * 2, abs=1e-15)
