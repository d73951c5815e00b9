"""CSV files that are compressed, or in other encodings: the same scores, and the input's own bytes again."""

import bz2
import gzip
import lzma
import re
import zlib
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import BlobNotFoundError, FileMalformedError, OptionsInvalidError, OutputEncodingError
from scoring.csv import source
from scoring.csv.encoding import check_encoding, encode, transcode
from scoring.job import Job
from scoring.pipeline import run_job
from storage import BlobPath
from tests.scoring.test_csv import GOOD, HEADER

APPENDED = re.compile(r"[,;\t|\x01](?:stay|leave)[,;\t|\x01]0\.[0-9]+(?=\r?\n|$)")
TEXT = "id,age,visits,member,plan\r\n" + "".join(
    f'"{i},\n{letter}",{i % 90},3,true,"ba""s{letter}ic"\r\n' for i, letter in enumerate("éüßæøþ" * 10)
)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


COMPRESS = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstd}


def decompress(data: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.decompress(data)
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read() if ending else data


def taken_off(result: str) -> str:
    """Return a result without its two appended columns."""
    head, end, rows = result.partition("\n")
    return re.sub(r"[,;\t|\x01]prediction.*?(?=\r|$)", "", head) + end + APPENDED.sub("", rows)


def appended(result: str) -> list[str]:
    """Return what was appended to each row, with commas."""
    return [text.replace(text[0], ",") for text in APPENDED.findall(result)]


@pytest.mark.parametrize("ending", COMPRESS, ids=["plain", "gzip", "zstd"])
def test_every_encoding_is_scored_alike_and_kept(drop, ending: str) -> None:
    """Whatever a file's encoding and compression, its scores are plain UTF-8's, and its text is given back."""
    receipt = drop("plain.csv", TEXT.encode())
    expected = appended(drop.result(receipt).decode())
    assert len(expected) == 60
    for number, (encoding, mark, asked) in enumerate(ENCODINGS):
        text = TEXT.replace(",", ",;\t|"[number % 4])
        data = mark + text.encode(encoding)
        options = {"csv": {"encoding": encoding}} if asked else {}
        receipt = drop(f"{number}.csv{ending}", COMPRESS[ending](data), **options)
        assert receipt.status == "succeeded", receipt.error
        result = decompress(drop.result(receipt), ending)
        assert result.startswith(mark)
        result_text = result[len(mark) :].decode(encoding)
        assert appended(result_text) == expected
        assert taken_off(result_text).encode(encoding) == text.encode(encoding)
        assert receipt.dialect
        assert receipt.dialect["compression"] == {"": None, ".gz": "gzip", ".zst": "zstd"}[ending]


ENCODINGS = [
    # encoding, byte order mark, whether the job names it
    ("utf-8", b"\xef\xbb\xbf", False),
    ("utf-16-le", b"\xff\xfe", False),
    ("utf-16-be", b"\xfe\xff", False),
    ("utf-16-le", b"", False),
    ("utf-16-be", b"", False),
    ("utf-32-le", b"\xff\xfe\0\0", False),
    ("utf-32-be", b"\0\0\xfe\xff", False),
    ("utf-32-be", b"", True),
    ("utf-16-le", b"\xff\xfe", True),
    ("latin-1", b"", True),
    ("cp1252", b"", True),
    ("gb18030", b"", True),
]


def test_names_without_a_hint_may_be_compressed(drop) -> None:
    """Compression is told by the first bytes: a .csv that is gzip inside is read, and written, as gzip."""
    receipt = drop("a.csv", gzip.compress(GOOD))
    assert gzip.decompress(drop.result(receipt)) == drop.result(drop("b.csv.gz", GOOD))


def test_results_say_what_they_are(drop) -> None:
    """Tab-separated and compressed names are taken; nothing else is."""
    tabs = GOOD.replace(b",", b"\t")
    names = ["a.tsv", "a.TSV.gz", "a.tsv.zst", "a.csv.zst", "a.csv.GZ"]
    assert {drop(name, tabs).status for name in names} == {"succeeded"}
    refused = drop("a.parquet.gz", tabs).error
    assert refused
    assert refused["code"] == "format_unsupported"


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT.encode()[:777]) + gzip.compress(TEXT.encode()[777:]) + gzip.compress(b""),
        gzip.compress(TEXT.encode()) + b"\0" * 500,
        zstd(TEXT.encode()[:777]) + zstd(TEXT.encode()[777:]) + zstd(b""),
        b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(TEXT.encode()) + b"\x5f\x2a\x4d\x18\x01\0\0\0x",
        b"".join(gzip.compress(TEXT.encode()[i : i + 1]) for i in range(len(TEXT.encode()))),
    ],
    ids=["gzip members", "zeros behind gzip", "zstd frames", "frames to be skipped", "a member a byte"],
)
def test_all_members_and_frames_are_read(drop, data: bytes) -> None:
    """Files put together of several compressed ones are read whole, wherever they were cut."""
    receipt = drop("a.csv", data)
    assert receipt.rows["read"] == 60
    ending = {"gzip": ".gz", "zstd": ".zst"}[receipt.dialect["compression"]]
    assert taken_off(decompress(drop.result(receipt), ending).decode()) == TEXT


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_cut_files_fail(drop, ending: str) -> None:
    """A compressed file that ends too soon, anywhere, is malformed, and leaves no result."""
    whole = COMPRESS[ending](TEXT.encode())
    for length in {4, 10, 17, *range(25, len(whole), 31), len(whole) - 5, len(whole) - 1}:
        receipt = drop(f"{length}.csv{ending}", whole[:length])
        assert receipt.error, length
        assert receipt.error["code"] == "file_malformed"
        assert "cut short" in receipt.error["message"]
        with pytest.raises(BlobNotFoundError):
            drop.services.blobs.stat(BlobPath("scored", f"churn/{length}.csv{ending}"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(GOOD) + b"PK", "something else follows"),
        (gzip.compress(GOOD) + b"\0\0PK", "something else follows"),
        (zstd(GOOD) + b"PK", "something else follows"),
        (zstd(GOOD) + b"longer than a header", "something else follows"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged"),
        (gzip.compress(gzip.compress(GOOD)), "compressed twice"),
        (gzip.compress(b"a.csv".ljust(257, b"_") + b"ustar"), "tar archive"),
        (gzip.compress(b"id,\0\0"), "binary"),
        (bz2.compress(GOOD), "bzip2: use gzip"),
        (lzma.compress(GOOD), "xz: use gzip"),
    ],
    ids=["gzip, zip", "zeros, zip", "zstd, zip", "zstd, text", "checksum", "twice", "tar", "binary", "bzip2", "xz"],
)
def test_damaged_files_fail(drop, data: bytes, says: str) -> None:
    """Bytes behind the end, wrong checksums and other things inside are malformed, with the reason."""
    receipt = drop("a.csv.gz", data)
    assert receipt.error
    assert (receipt.error["code"], receipt.output) == ("file_malformed", None)
    assert says in receipt.error["message"]


def test_a_name_may_look_like_a_sign(drop) -> None:
    """A file whose first column is called as another format begins is a CSV file."""
    names = [f"{i}.csv" for i in range(3)]
    starts = [b"PAR1,", b"BZh9,", b"ustar,"]
    receipts = [
        drop(name, start + HEADER + b"1,1,20,3,true,pro\n") for name, start in zip(names, starts, strict=True)
    ]
    assert [receipt.status for receipt in receipts] == ["succeeded"] * 3


def test_an_empty_file_is_empty_compressed_too(drop) -> None:
    """No text at all is file_empty, whatever it is wrapped in."""
    codes = {drop(f"{i}.csv.gz", data).error["code"] for i, data in enumerate([gzip.compress(b""), zstd(b"")])}
    assert codes == {"file_empty"}


def test_a_bomb_is_an_error(drop, monkeypatch) -> None:
    """Text that grows beyond max_expansion ends the run, once it is more than any file may become."""
    data = zlib.compress(HEADER + b"1,20,3,true,basic\n" * 3000, 9, 31)
    assert drop("a.csv.gz", data).status == "succeeded"
    monkeypatch.setattr(source, "_EXPANSION_FREE", 20_000)
    receipt = drop("b.csv.gz", data)
    assert receipt.error
    assert (receipt.error["code"], receipt.output) == ("expansion_limit", None)
    assert "DROPSCORE_MAX_EXPANSION" in receipt.error["message"]


def test_a_compressed_file_never_has_too_many_blocks() -> None:
    """Blocks of a file that becomes 200 times its size are fewer than 50,000, and for common files all alike."""
    sizes = source._block_sizes(4)
    flat = [next(sizes) for _ in range(20_000)]
    assert set(flat) == {4}
    assert sum(flat) + sum(next(sizes) for _ in range(29_900)) > 200 * 40_000 * 4


def test_blocks_grow_alike_each_time(drop, monkeypatch) -> None:
    """Growing blocks lose nothing, and a file that is scored again gives the same bytes."""
    monkeypatch.setattr(source, "_FLAT_BLOCKS", 3)
    monkeypatch.setattr(source, "_DOUBLE_AFTER", 2)
    first, second = (drop(name, gzip.compress(TEXT.encode(), mtime=9)) for name in ("a.csv.gz", "b.csv.gz"))
    assert drop.result(first) == drop.result(second)
    assert taken_off(gzip.decompress(drop.result(first)).decode()) == TEXT
    assert drop.result(first).count(b"\x1f\x8b\x08") < 12  # 4 KB in blocks of 200 bytes would be more than 20


@pytest.mark.parametrize("ending", COMPRESS, ids=["plain", "gzip", "zstd"])
def test_progress_is_of_the_file(services, ending: str) -> None:
    """Progress counts the file's own bytes, whatever becomes of them, never goes back, and ends at its size."""
    data = COMPRESS[ending](b"\xff\xfe" + TEXT.encode("utf-16-le"))
    path = BlobPath("incoming", f"churn/a.csv{ending}")
    services.blobs.write(path, data)
    read: list[int] = []
    receipt = run_job(Job.for_dropped(path), services, lambda done, _tally: read.append(done))
    assert receipt.rows["read"] == 60
    assert read == sorted(read)
    assert (read[-1], read[0] < len(data)) == (len(data), True)
    stages = set(receipt.stages["cpu"])
    assert stages & {"decompress", "transcode"} == ({"decompress", "transcode"} if ending else {"transcode"})


def test_rejects_are_wrapped_like_the_input(drop) -> None:
    """The rejects file is compressed and encoded as the input is, its mark once: mended, it can be scored."""
    text = "id,age,visits,member,plan\n" + "é,x,3,true,pro\né,1,3,true,pro\n" * 40
    receipt = drop("a.csv.gz", gzip.compress(text.encode("utf-16")), error_threshold=-1)
    rejects = gzip.decompress(drop.rejects(receipt))
    assert rejects.count(b"\xff\xfe") == 1
    lines = rejects.decode("utf-16").splitlines()
    assert len(lines) == 41
    assert lines[1].startswith("é,x,3,true,pro,1,value_type,age,")
    mended = rejects.decode("utf-16").replace(",x,", ",7,").encode("utf-16")
    assert drop("b.csv.zst", zstd(mended)).rows == {"read": 40, "scored": 40, "rejected": 0}


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("utf-8", b"\xff"), ("utf-16-le", b"\x3d\xd8"), ("utf-32-be", b"\0\0\xdc\x80"), ("cp1252", b"\x81")],
)
def test_what_is_no_text_costs_its_row(drop, encoding: str, bad: bytes) -> None:
    """Undecodable bytes reject the row that needs them, stay as they are elsewhere, and in the rejects file."""
    rows = "{},20,3,true,é\n1,20,3,true,{}\n3,20,3,true,basic\n"
    parts = ("id,age,visits,member,plan\n" + rows).split("{}")
    text = bad.join(part.encode(encoding) for part in parts)
    receipt = drop("a.csv", text, error_threshold=-1, csv={"encoding": encoding})
    assert receipt.rows == {"read": 3, "scored": 2, "rejected": 1}
    assert receipt.reject_codes == {"text_encoding": 1}
    comma = ",".encode(encoding)
    assert bad + f",20,3,true,é{','}stay".encode(encoding) in drop.result(receipt)
    assert "1,20,3,true,".encode(encoding) + bad + comma + "2,text_encoding".encode(encoding) in drop.rejects(
        receipt
    )
    assert ("latin-1".encode(encoding) in drop.rejects(receipt)) == (encoding == "utf-8")


def test_a_mark_of_another_encoding_is_an_error(drop) -> None:
    """A job that says latin-1 of a file that says UTF-16 is told so."""
    receipt = drop("a.csv", GOOD.decode().encode("utf-16"), csv={"encoding": "latin-1"})
    assert receipt.error
    assert "byte order mark of UTF-16-LE" in receipt.error["message"]


def test_utf_16_without_a_mark_may_be_named(drop) -> None:
    """csv.encoding utf-16 leaves the order of bytes to be found."""
    receipt = drop("a.csv", GOOD.decode().encode("utf-16-be"), csv={"encoding": "UTF16"})
    assert receipt.dialect["encoding"] == "utf-16-be"
    assert receipt.rows["scored"] == 3


def test_what_a_file_is_does_not_hang_on_its_rows(drop) -> None:
    """NUL bytes far behind the header tell nothing: of UTF-16 (half of "one" in Chinese), and of binary data."""
    rows = GOOD + GOOD.partition(b"\n")[2] * 10
    odd = rows + "4,20,3,true,一\n".encode()
    wide = drop("a.csv", odd.decode().encode("utf-16-le"))
    assert (wide.rows["scored"], wide.dialect["encoding"]) == (34, "utf-16-le")
    assert drop("b.csv", rows + b"\0,20,3,true,pro\n").rows == {"read": 34, "scored": 34, "rejected": 0}


def test_no_rows_left_is_still_a_file_of_its_kind(drop) -> None:
    """A result without header and rows is an empty gzip file, not an empty file."""
    receipt = drop("a.csv.gz", gzip.compress(b"x,3,true,pro\n"), csv={"header": False}, error_threshold=-1)
    assert drop.result(receipt)
    assert gzip.decompress(drop.result(receipt)) == b""


@pytest.mark.parametrize(
    "name", ["utf-7", "rot13", "base64", "hz", "iso2022_jp", "cp037", "idna", "\0", "\ud800", "x" * 999]
)
def test_encodings_that_cannot_be_cut_are_refused(name: str) -> None:
    """Encodings with states, or that do not extend ASCII, and names of none are an error of the job."""
    with pytest.raises(OptionsInvalidError):
        check_encoding(name)


EXACT = ["cp1252", "koi8-r", "gbk", "gb18030", "euc_jp", "euc_kr", "shift_jis", "utf-16-le", "utf-16-be"]


@given(st.sampled_from(EXACT), st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_any_bytes_come_back(encoding: str, data: bytes, cuts: list[int]) -> None:
    """Whatever the bytes and wherever they are cut, the way to UTF-8 and back changes none of them."""
    data = data[: len(data) // 2 * 2] if encoding.startswith("utf") else data
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert encode(b"".join(transcode(chunks, encoding, "a.csv")), encoding, "a.csv") == data


def test_a_label_the_encoding_lacks_is_an_error() -> None:
    """What cannot be written in the file's encoding ends the run, and is not replaced by a question mark."""
    with pytest.raises(OutputEncodingError, match="cp1252"):
        encode("→".encode(), "cp1252", "a.csv")


def test_a_file_that_is_no_utf_32_is_an_error() -> None:
    """Numbers beyond all characters mean that the encoding is another."""
    with pytest.raises(FileMalformedError, match=r"csv\.encoding"):
        list(transcode([b"\xff\xff\xff\x7f"], "utf-32-le", "a.csv"))
