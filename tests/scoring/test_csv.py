"""CSV files through the whole pipeline."""

import csv
from io import StringIO

import pytest

from tests.hand_model import hand_scores

HEADER = b"id,age,visits,member,plan\n"
GOOD = HEADER + b"1,20,3,true,basic\n2,,4,false,\n3,30.5,2,TRUE,zzz\n"


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(data.decode(), newline="")))


def test_the_result_is_the_input_with_columns_appended(drop) -> None:
    """Every byte of the input stays where it was; prediction and probability follow."""
    receipt = drop("a.csv", GOOD)
    lines = zip(GOOD.splitlines(), drop.result(receipt).splitlines(), strict=True)
    assert all(new.startswith(old + b",") for old, new in lines)
    assert receipt.rows == {"read": 3, "scored": 3, "rejected": 0}


def test_scores_are_the_source_models(drop) -> None:
    """The scores in the file are the model's own, to the last digit of a double."""
    scored = read(drop.result(drop("a.csv", GOOD)))
    expected = hand_scores([(20, 3, True, "basic"), (None, 4, False, None), (30.5, 2, True, "zzz")])
    assert [float(row["probability_leave"]) for row in scored] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD[:-1],
        HEADER + b'1,"20",3,true,"ba""s\nic"\n"2", 5 ,4,false,\xc3\xa9\n',
        GOOD.replace(b"\n", b"\r"),
        HEADER + b"1,20,3,true,basic\r\n2,20,3,true,basic\n3,20,3,true,basic\r4,20,3,true,basic",
        HEADER + b'1,20,3,true,5" pipe\n2,20,3,true,"6"" pipe"\n',
        HEADER.replace(b"id", b"id,id") + b"1,1,20,3,true,basic\n",
    ],
    ids=["crlf", "bom", "no last newline", "quotes", "cr", "mixed line ends", "stray quote", "a name twice"],
)
def test_odd_but_valid_text_is_kept_byte_for_byte(drop, text: bytes) -> None:
    """Taking the appended columns off again gives the input's very bytes."""
    result = drop.result(drop("a.csv", text))
    assert result.startswith(text[:10])
    records = [row[:-2] for row in csv.reader(StringIO(result.decode(), newline=""))]
    assert records == list(csv.reader(StringIO(text.decode(), newline="")))
    stripped = result
    for row in csv.reader(StringIO(result.decode(), newline="")):
        stripped = stripped.replace(f",{row[-2]},{row[-1]}".encode(), b"", 1)
    assert stripped == text


def test_blocks_do_not_show(drop) -> None:
    """A file of many blocks comes back in order, whole."""
    text = HEADER + b"".join(b"%d,%d,3,true,basic\n" % (i, i % 90) for i in range(500))
    scored = read(drop.result(drop("a.csv", text)))
    assert [row["id"] for row in scored] == [str(i) for i in range(500)]


def test_a_bad_cell_costs_its_row_only(drop) -> None:
    """Each faulty row is in the rejects file, in the input's own columns, with its number, code and column."""
    text = HEADER + (
        b"1,20,3,true,basic\n2,x,4,false,\n3,30.5,,TRUE,zzz\n4,1\n5,1,2,true,pro,extra\n"
        b"6,1,2.0, true,basic\n7,1,2.5,true,pro\n"
    )
    receipt = drop("a.csv", text, error_threshold=-1)
    assert receipt.rows == {"read": 7, "scored": 2, "rejected": 5}
    assert [row["id"] for row in read(drop.result(receipt))] == ["1", "6"]
    rejects = read(drop.rejects(receipt))
    assert [(r["_row"], r["_error_code"], r["_error_column"]) for r in rejects] == [
        ("2", "value_type", "age"),
        ("3", "null_not_allowed", "visits"),
        ("4", "field_count", ""),
        ("5", "field_count", ""),
        ("7", "value_type", "visits"),
    ]
    own = {"id": "2", "age": "x", "visits": "4", "member": "false", "plan": ""}
    assert {name: rejects[0][name] for name in own} == own
    assert rejects[3]["plan"] == "pro,extra"
    assert receipt.reject_codes == {"value_type": 2, "null_not_allowed": 1, "field_count": 2}


def test_a_record_that_is_no_text_is_rejected_as_it_is(drop) -> None:
    """Bytes that are not UTF-8 reject their row, and stand unchanged in the rejects file."""
    receipt = drop("a.csv", HEADER + b"1,20,3,true,basic\n2,20,3,true,\xff\n", error_threshold=-1)
    assert receipt.reject_codes == {"text_encoding": 1}
    assert b"2,20,3,true,\xff,2,text_encoding," in drop.rejects(receipt)


def test_bytes_that_are_no_text_do_not_matter_where_nobody_looks(drop) -> None:
    """A row's fate does not depend on its neighbours: what is not needed is not read, whichever way a block is."""
    bad = b"\xff,20,3,true,basic\n"
    alone = drop("a.csv", HEADER + bad, keep="none")
    beside = drop("b.csv", HEADER + bad + b"1,2\n", keep="none", error_threshold=-1)
    assert (alone.rows["scored"], beside.rows["scored"]) == (1, 1)
    assert drop.result(alone) == drop.result(beside)


def test_a_byte_order_mark_is_one_only_at_the_start_of_the_file(drop) -> None:
    """The same row scores the same as the first of a block and inside one."""
    row = "\ufeffbasic,20,3,true\n".encode()
    text = b"plan,age,visits,member\n" + row * 40
    scored = read(drop.result(drop("a.csv", text)))
    assert len({row["probability_leave"] for row in scored}) == 1
    assert {row["plan"] for row in scored} == {"\ufeffbasic"}


def test_carriage_returns_before_a_line_end_are_blank_lines(drop) -> None:
    """CR CR LF, which Python's csv module writes on Windows through a text file, is a CR and a blank line."""
    receipt = drop("a.csv", GOOD.replace(b"\n", b"\r\r\n"))
    assert receipt.rows == {"read": 3, "scored": 3, "rejected": 0}
    assert drop.result(receipt) == drop.result(drop("b.csv", GOOD)).replace(b"\n", b"\r")


def test_a_carriage_return_in_a_field_costs_its_row(drop) -> None:
    """A carriage return outside quotes ends a record: both parts of it are short."""
    receipt = drop("a.csv", GOOD + b"1,20\r,3,true,basic\n", error_threshold=-1)
    assert (receipt.rows["scored"], receipt.reject_codes) == (3, {"field_count": 2})


def test_new_files_have_the_line_end_of_the_header(drop) -> None:
    """What is written anew, not kept, ends its lines as the input does: here as a classic Mac wrote them."""
    kept = drop.result(drop("a.csv", GOOD.replace(b"\n", b"\r"), keep=["id"]))
    assert kept == drop.result(drop("b.csv", GOOD, keep=["id"])).replace(b"\n", b"\r")


def test_whole_numbers_are_never_changed(drop) -> None:
    """What a 64-bit column cannot hold exactly is rejected; 3.0 and +3 are 3, +-3 is nothing."""
    good = [b"9007199254740993.0", b"+3.0", b"3.", b"+3", b"-3.0", b" 3 "]
    bad = [b"-9223372036854775809", b"9007199254740993.5", b"1e3", b"+-3.0", b"+-3", b"--3", b"++3", b"."]
    text = HEADER + b"".join(b"%d,20,%s,true,basic\n" % (i, cell) for i, cell in enumerate(good + bad))
    receipt = drop("a.csv", text, error_threshold=-1)
    assert [row["id"] for row in read(drop.result(receipt))] == [str(i) for i in range(len(good))]


def test_many_ragged_records_are_rejected_whole(drop) -> None:
    """A file whose every record is short ends in rejects, each a whole row of the table."""
    receipt = drop("a.csv", HEADER + b"1,20\n" * 20_000, error_threshold=-1)
    assert receipt.rows == {"read": 20_000, "scored": 0, "rejected": 20_000}
    assert drop.rejects(receipt).splitlines()[-1].startswith(b"1,20,,,,20000,field_count,,")


def test_a_file_without_header_keeps_its_byte_order_mark(drop) -> None:
    """Byte for byte includes the mark."""
    receipt = drop("a.csv", b"\xef\xbb\xbf20,3,true,basic\n", csv={"header": False})
    assert drop.result(receipt).startswith(b"\xef\xbb\xbf20,3,true,basic,stay,0.20")


def test_fixed_rejects_can_be_dropped_again(drop) -> None:
    """A rejects file is a file of the same columns: mended, it is scored."""
    receipt = drop("a.csv", HEADER + b"1,x,3,true,basic\n", error_threshold=-1)
    again = drop("b.csv", drop.rejects(receipt).replace(b"1,x,", b"1,44,"))
    assert again.rows == {"read": 1, "scored": 1, "rejected": 0}


def test_fixed_rejects_without_a_header_can_be_dropped_again(drop) -> None:
    """What a rejects file has behind the model's columns is known there too, however often it was rejected."""
    data = b'20;3;true;basic\nx;3;true;"b;c"\n'
    for name in "abc":
        data = drop.rejects(drop(f"{name}.csv", data, csv={"header": False}, error_threshold=-1))
        assert data.startswith(b'x;3;true;"b;c";')
        assert data.count(b"\n") == 1
    again = drop("d.csv", data.replace(b"x;", b"44;"), csv={"header": False}, keep=["plan"])
    assert again.rows == {"read": 1, "scored": 1, "rejected": 0}
    assert drop.result(again).startswith(b'"b;c";stay;')


@pytest.mark.parametrize(
    ("keep", "columns"),
    [
        ("none", ["prediction", "probability_leave"]),
        (["id", "age"], ["id", "age", "prediction", "probability_leave"]),
    ],
)
def test_keep_chooses_the_columns(drop, keep, columns) -> None:
    """Kept columns are written as they were, nulls' spellings included."""
    receipt = drop("a.csv", HEADER + b'"N,A",NA,3,true,basic\nNone,"1.50",3,true,basic\n', keep=keep)
    rows = read(drop.result(receipt))
    assert list(rows[0]) == columns
    if "id" in columns:
        assert [(row["id"], row["age"]) for row in rows] == [("N,A", "NA"), ("None", "1.50")]


def test_other_dialects(drop) -> None:
    """Delimiter, quote and a missing header are options; the result is written the same way."""
    receipt = drop(
        "a.csv", b"20;3;true;'ba;sic'\n21;3;true;pro\n", csv={"delimiter": ";", "quote": "'", "header": False}
    )
    lines = drop.result(receipt).splitlines()
    assert lines[0].startswith(b"20;3;true;'ba;sic';stay;0.")
    assert len(lines) == 2


def test_a_name_in_use_is_not_used_twice(drop) -> None:
    """An input that has a column named like an output keeps it; the output gets a number."""
    scored = read(drop.result(drop("a.csv", b"prediction," + HEADER + b"9,1,20,3,true,basic\n")))
    assert scored[0]["prediction"] == "9"
    assert scored[0]["prediction_2"] == "stay"


def test_null_spellings_are_those_of_pandas(drop) -> None:
    """NA, null and nan are missing values in number and text columns alike."""
    text = HEADER + b"1,NA,3,true,NaN\n2,null,3,true,\n3,,3,true,None\n"
    scored = read(drop.result(drop("a.csv", text)))
    assert len({row["probability_leave"] for row in scored}) == 1
