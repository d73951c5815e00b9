"""Files dropped without a word about how they are written: found out from the model's own columns."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store import Column, ColumnType, Signature
from scoring.csv.dialect import LOOKED_AT, Dialect, find_dialect
from scoring.csv.header import Header
from scoring.engine import Engine
from scoring.options import CsvOptions
from tests.echo_model import open_echo
from tests.hand_model import SIGNATURE
from tests.memory_store import Runs
from tests.scoring.test_csv import GOOD, HEADER, read

MARKS = [",", ";", "\t", "|", "\x01"]


def found(start: str, name: str = "a.csv", inputs: str = "", **options) -> tuple[str, str]:
    signature = SIGNATURE
    if inputs:
        signature = Signature(
            tuple(Column(c, ColumnType.DOUBLE) for c in inputs.split(",")), (Column("y", ColumnType.DOUBLE),)
        )
    dialect = find_dialect(start.encode(), CsvOptions(**options), signature, name)
    return dialect.delimiter, dialect.quote


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_dropped_files_need_no_options(drop, mark: str, quote: str, end: str) -> None:
    """Whichever mark divides the columns, scores are those of the file with commas, and the mark stays."""
    plain = read(drop.result(drop("plain.csv", GOOD)))
    text = GOOD.decode().replace("id,age", f"{quote}id{quote},{quote}age{quote}")
    text = text.replace("plan", f"{quote}plan{quote}").replace(",", mark).replace("\n", end)
    receipt = drop("a.csv", text.encode())
    assert receipt.dialect == Dialect(mark, quote, line_end=end).to_dict()
    lines = drop.result(receipt).decode().split(end)
    assert lines[0].endswith(f"{quote}plan{quote}{mark}prediction{mark}probability_leave")
    tails = [line.split(mark)[-2:] for line in lines[1:4]]
    assert tails == [[row["prediction"], row["probability_leave"]] for row in plain]


def test_files_without_a_header_are_divided_into_the_models_columns(drop) -> None:
    """Without names, the mark that gives as many fields as the model has inputs is right."""
    text = b"20;3;true;'ba;sic'\r\n21;3;true;pro\r\n"
    receipt = drop("a.csv", text, csv={"header": False}, keep="none")
    assert (receipt.dialect["delimiter"], receipt.dialect["quote"]) == (";", "'")
    lines = drop.result(receipt).split(b"\r\n")
    assert [line[:7] for line in lines] == [b"stay;0.", b"stay;0.", b""]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("id,age,visits,member,plan\n", ',"'),
        ("\n\r\nid;age;visits;member;plan\r1;2", ';"'),
        ("a,b,age;visits;member;plan;c,d\n", ';"'),
        ("no,such;columns;here\n", ',"'),
        ('"a;age;visits",age,plan\n', ',"'),
        ('"a\n;b";age;visits;member;plan\n', ';"'),
        ("age;visits,plan\n", ',"'),
        ("age\tvisits\tmember|plan", '\t"'),
        ("", ',"'),
        ("age", ',"'),
        ("\ufffd;age;\n", ';"'),
    ],
)
def test_the_mark_that_makes_most_of_the_models_columns_is_it(start: str, expected: str) -> None:
    """The header is read with each mark; of equals, and where none makes sense, the comma is taken."""
    assert found(start) == (expected[:1], expected[1:])


def test_names_that_hold_marks_are_names() -> None:
    """A model's column that is called a;b is no reason to divide there."""
    assert found("id,a;b,c\n", inputs="a;b,c") == (",", '"')
    assert found("id;x,y\n", inputs="id") == (";", '"')


def test_tsv_files_prefer_tabs() -> None:
    """Where nothing else tells, a .tsv file has tabs; where the header tells, that counts."""
    assert found("age", "x/a.tsv")[0] == "\t"
    assert found("nothing,known", "A.TSV.gz")[0] == "\t"
    assert found("age,plan\n", "a.tsv")[0] == ","
    assert found("nothing,known", "a.tsv/a.csv")[0] == ","


def test_what_a_job_says_counts(drop) -> None:
    """A delimiter or quote that is given is never replaced; the error then says what the columns look like."""
    assert found("age;plan", delimiter="|") == ("|", '"')
    assert found("'age';'plan'", quote='"')[1] == '"'
    assert found("'age';'plan'", quote="") == (",", "")
    assert found("age,plan", quote=",") != (",", ",")
    receipt = drop("a.csv", GOOD.replace(b",", b";"), csv={"delimiter": "|"})
    assert receipt.error
    assert "semicolons: set csv.delimiter" in receipt.error["message"]


@given(st.binary(max_size=200), st.sampled_from([None, "", "'", ";"]), st.booleans())
def test_any_start_has_a_dialect(start: bytes, quote: str | None, header: bool) -> None:
    """Nothing a file begins with raises, and delimiter and quote are always two."""
    dialect = find_dialect(start, CsvOptions(quote=quote, header=header), SIGNATURE, "a.csv")
    assert dialect.delimiter in MARKS
    assert dialect.delimiter != dialect.quote


def test_spaces_around_a_name_are_named(drop) -> None:
    """Names keep their spaces, as in pandas; where that is why a column is missing, the error says so."""
    receipt = drop("a.csv", GOOD.replace(b",", b", "))
    assert receipt.error
    assert receipt.error["code"] == "column_missing"
    assert "'age' is there with spaces around it" in receipt.error["message"]


def test_failed_runs_say_what_they_assumed(drop) -> None:
    """The receipt of a run that was refused for its rejects has the dialect too."""
    receipt = drop("a.csv", gzip.compress(HEADER.replace(b",", b"|") + b"1|x|3|true|\n"))
    assert receipt.error
    assert receipt.error["code"] == "threshold_exceeded"
    assert receipt.dialect
    assert (receipt.dialect["delimiter"], receipt.dialect["compression"]) == ("|", "gzip")


def test_wide_files_are_scored(drop) -> None:
    """Hundreds of columns beside the model's are nothing special, nor is a short record among them."""
    names, cells = "".join(f";c{i}" for i in range(300)).encode(), b";1" * 300
    good = HEADER[:-1].replace(b",", b";") + names + b"\n" + b"1;20;3;true;pro" + cells + b"\n"
    receipt = drop("a.csv", good + b"1;20;3;true;pro;1\n", error_threshold=-1)
    assert receipt.rows == {"read": 2, "scored": 1, "rejected": 1}
    assert drop.rejects(receipt).splitlines()[1].startswith(b"1;20;3;true;pro;1" + b";" * 299 + b";2;field_count;;")


def test_the_models_columns_may_be_the_last_of_many() -> None:
    """A delimiter is found in a header whose first 70,000 columns tell nothing."""
    header = ";".join([*(f"column{i}" for i in range(70_000)), "age;visits;member;plan\n"])
    assert found(header[:LOOKED_AT]) == (";", '"')


def test_columns_are_found_at_once() -> None:
    """A name that is there twice is the first of the two; each of 100,000 is looked up without a search."""
    header = Header((*(str(i) for i in range(100_000)), "7"), b"")
    assert [header.index(str(i)) for i in range(100_000)] == list(range(100_000))


def test_rejects_without_quotes_are_a_table(drop) -> None:
    """Where no quotes can hold a comma, what we say of a row has none; mended, the file can be dropped again."""
    data = b"age,visits,member,plan\n20,3,true,\xff\n20,3,true,pro\n"
    rejects = drop.rejects(drop("a.csv", data, csv={"quote": ""}, error_threshold=-1))
    header, row = rejects.splitlines()
    assert (len(header.split(b",")), len(row.split(b","))) == (8, 8)
    assert row.startswith(b"20,3,true,\xff,1,text_encoding,plan,the value is not UTF-8 text")
    again = drop("b.csv", rejects.replace(b"\xff", b"pro"), csv={"quote": ""})
    assert again.rows == {"read": 1, "scored": 1, "rejected": 0}


@pytest.mark.parametrize("keep", ["all", "none"])
def test_outputs_that_need_quotes_fail_a_file_without(tmp_path: Path, drop, keep) -> None:
    """An output that holds the delimiter would be two cells; so would its name. Parquet holds both."""
    engine = Engine(1)
    runs = Runs(open_echo(tmp_path / "echo"), engine)
    data = b"flag,small,whole,single,number,at\ntrue,1,2,0.5,0.25,2026-11-20\n"
    for text, code in (("a%2Cb", "output_encoding"), ("a%0Db", "output_encoding"), ("ab", None)):
        assert runs.score(f"text={text}/a.csv", data, keep=keep, csv={"quote": ""}).code == code
    assert runs.score("text=a%2Cb/a.csv", data, csv={"quote": ""}, output_format="parquet").code is None
    engine.close()
    receipt = drop(
        "a.csv", b"ageyvisitsymemberyplan\n20y3ytrueypro\n", keep=keep, csv={"quote": "", "delimiter": "y"}
    )
    assert receipt.error["code"] == "output_encoding"


def test_bytes_that_are_no_text_in_the_first_row_cost_that_row(drop) -> None:
    """In a file without a header the first record is a row as any other."""
    receipt = drop("a.csv", b"20,3,true,\xff\n20,3,true,pro\n", csv={"header": False}, error_threshold=-1)
    assert (receipt.rows["scored"], receipt.reject_codes) == (1, {"text_encoding": 1})


def test_a_dialect_is_what_a_receipt_shows() -> None:
    """What was assumed is written as JSON has it."""
    assert Dialect(";", "", encoding="cp1252").to_dict() == {
        "delimiter": ";", "quote": "", "encoding": "cp1252", "compression": None, "line_end": "\n", "decimal": ".",
    }  # fmt: skip


def test_decimals_may_follow_a_comma(drop) -> None:
    """With csv.decimal a comma, numbers are read and written so; a point, which divides thousands, is refused."""
    plain = HEADER + b"1,20.5,3,true,basic\n2,,4.0,false,\n3,30.25,2,TRUE,zzz\n"
    expected = [row["probability_leave"] for row in read(drop.result(drop("plain.csv", plain)))]
    text = plain.replace(b",", b";").replace(b".", b",")
    alone = drop("a.csv", text, csv={"decimal": ","}, keep="none")
    beside = drop(
        "b.csv", text + b"4;1.234;3;true;pro\n5;1.234,5;3;true;pro\n", csv={"decimal": ","}, error_threshold=-1
    )
    assert alone.dialect["delimiter"] == ";"
    lines = drop.result(alone).decode().splitlines()
    assert [line.partition(";")[2].replace(",", ".") for line in lines[1:]] == expected
    assert [line.split(";")[-2:] for line in drop.result(beside).decode().splitlines()] == [
        line.split(";") for line in lines
    ]
    assert beside.reject_codes == {"value_type": 2}


def test_a_number_with_a_comma_says_what_to_set(drop) -> None:
    """Where decimals follow a comma and no option says so, the rejects do, of such cells alone."""
    receipt = drop("a.csv", HEADER.replace(b",", b";") + b"1;20,5;3;true;pro\n2;x;3;true;pro\n", error_threshold=-1)
    first, second = drop.rejects(receipt).splitlines()[1:]
    assert first.endswith(
        b";value_type;age;the value is not a number: if its decimals follow a comma, set csv.decimal"
    )
    assert second.endswith(b";value_type;age;the value is not a number")


def test_a_comma_is_not_both(drop) -> None:
    """Where decimals follow a comma, none divides columns."""
    assert found("age,visits,member,plan\n", decimal=",") == (";", '"')
    error = drop("a.csv", GOOD, csv={"decimal": ","}).error
    assert error["code"] == "column_missing"
    assert error["message"].endswith("divided by commas: so csv.decimal cannot be one")


@pytest.mark.parametrize("delimiter", [None, ";"])
def test_the_line_that_excel_reads_the_delimiter_from_is_named(drop, delimiter: str | None) -> None:
    """`sep=;` is no header, and no delimiter makes it one: the error says that it has to go."""
    receipt = drop("a.csv", b"sep=;\r\n" + GOOD.replace(b",", b";"), csv={"delimiter": delimiter})
    assert receipt.error
    assert receipt.error["code"] == "column_missing"
    assert receipt.error["message"].endswith("'sep=', tells Excel the delimiter: delete it")


def test_a_file_without_a_header_is_told_how_to_say_so(drop) -> None:
    """Where the first line may be a row, the error says what option it takes, and shows nothing of the line."""
    receipt = drop("a.csv", b"20,3,true,basic\n30,3,true,pro\n")
    assert receipt.error
    assert receipt.error["message"].endswith(
        "has 4 others; if the first line is a row and no header, set csv.header to false"
    )
    assert drop("b.csv", b"20,3,true,basic\n30,3,true,pro\n", csv={"header": False}).status == "succeeded"
