"""Whatever is dropped ends in a receipt that says what is wrong and what to do; nothing half-written is left."""

import pytest

from errors import BlobNotFoundError
from storage import BlobPath
from tests.scoring.test_csv import GOOD, HEADER

CASES = {
    "empty": ("a.csv", b"", "file_empty", "not even a header"),
    "only a byte order mark": ("a.csv", b"\xef\xbb\xbf", "file_empty", "blank lines"),
    "a row for a header": ("a.csv", b"Jane Roe,555\nJim,556\n", "column_missing", "2 others"),
    "blank lines": ("a.csv", b"\n\r\n", "file_empty", "blank lines"),
    "missing column": ("a.csv", b"id,age\n1,2\n", "column_missing", "'visits'"),
    "not the delimiter": ("a.csv", HEADER.replace(b",", b"~"), "column_missing", "has 1 other"),
    "a needed column twice": ("a.csv", b"age," + GOOD, "file_malformed", "twice"),
    "parquet as csv": ("a.csv", b"PAR1\x15\x04", "file_malformed", "rename it to .parquet"),
    "zip as csv": ("a.csv", b"PK\x03\x04", "file_malformed", "Excel"),
    "half a character": ("a.csv", "é".encode("utf-16")[:-1], "file_malformed", "inside a character"),
    "a header of latin-1": ("a.csv", HEADER.replace(b"id", b"\xef"), "file_malformed", "latin-1"),
    "binary": ("a.csv", b"id,\x00\x01", "file_malformed", "binary"),
    "open quote": ("a.csv", HEADER + b'1,20,3,true,"ba\n', "file_malformed", "never ends"),
    "a line too long": ("a.csv", HEADER + b"x" * 9000, "record_too_large", "2,000 bytes"),
    "a header too long": ("a.csv", b"x" * 9000, "record_too_large", "2,000 bytes"),
    "every row wrong": ("a.csv", HEADER + b"1,x,3,true,\n", "threshold_exceeded", "value_type: 1"),
    "as many for this as for that": (
        "a.csv",
        HEADER + b"1,20,,true,\n1,x,3,true,\n",
        "threshold_exceeded",
        "null_not_allowed: 1, value_type: 1",
    ),
    "csv as parquet": ("a.parquet", GOOD, "file_malformed", "another format"),
    "empty parquet": ("a.parquet", b"", "file_empty", "Parquet"),
    "wrong extension": ("a.xlsx", b"PK", "format_unsupported", ".tsv.zst, .parquet"),
    "no extension": ("rows", GOOD, "format_unsupported", ".tsv.zst, .parquet"),
}


@pytest.mark.parametrize(("name", "data", "code", "says"), CASES.values(), ids=CASES.keys())
def test_bad_files_fail_with_a_reason(drop, name: str, data: bytes, code: str, says: str) -> None:
    """Each bad file has its own stable code and a message with what to do, and no result."""
    receipt = drop(name, data)
    assert receipt.status == "failed"
    assert receipt.error is not None
    assert (receipt.error["code"], receipt.output) == (code, None)
    assert says in receipt.error["message"]
    with pytest.raises(BlobNotFoundError):
        drop.services.blobs.stat(BlobPath("scored", f"churn/{name}"))


def test_a_header_alone_is_a_result_without_rows(drop) -> None:
    """A file with columns and no rows succeeds, with a warning: an upstream system had nothing to say that day."""
    receipt = drop("a.csv", HEADER)
    assert receipt.status == "succeeded"
    assert [w["code"] for w in receipt.warnings] == ["no_rows"]
    assert drop.result(receipt) == HEADER[:-1] + b",prediction,probability_leave\n"


def test_a_column_to_keep_that_is_not_there(drop) -> None:
    """A typo in keep fails the run by name, it does not lose the column silently."""
    receipt = drop("a.csv", GOOD, keep=["idd"])
    assert receipt.error is not None
    assert (receipt.error["code"], receipt.error["column"]) == ("column_missing", "idd")


def test_rejects_stay_when_the_threshold_is_passed(drop) -> None:
    """A file with too many bad rows has no result, but its rejects are there to look at."""
    receipt = drop("a.csv", HEADER + b"1,20,3,true,\n2,x,3,true,\n")
    assert receipt.status == "failed"
    assert receipt.rows == {"read": 2, "scored": 1, "rejected": 1}
    assert b"2,x,3,true,,2,value_type,age," in drop.rejects(receipt)


def test_messages_never_hold_values(drop) -> None:
    """Neither receipts nor reject messages repeat what was in a cell."""
    receipt = drop("a.csv", HEADER + b"1,s3cret,3,true,\n", error_threshold=-1)
    assert "s3cret" not in receipt.to_json()
    assert drop.rejects(receipt).count(b"s3cret") == 1  # the row itself


def test_rows_that_look_like_a_name_are_not_repeated(drop) -> None:
    """Where a quote in the header is closed in a later row, what lies between is no column's name."""
    text = b'age,"visits,member\n44,secret,true\n45,"other",true\n'
    receipt = drop("a.csv", text, csv={"quote": '"'})
    assert receipt.error is not None
    assert receipt.error["code"] == "column_missing"
    assert "'visits,member...'" in receipt.error["message"]
    assert "secret" not in str(receipt)
