"""Score CSV text at hand, as the body of a request has it; cells are read as those of a dropped file are."""

from collections.abc import Callable

from errors import FileEmptyError
from model_store.model import Model
from scoring.conform import check_columns
from scoring.csv.cells import CellReader
from scoring.csv.dialect import LOOKED_AT, find_dialect
from scoring.csv.header import BOM, delimiter_hint, read_header
from scoring.csv.records import cut_records
from scoring.options import CsvOptions
from scoring.rows import Answers, answer_batch

_NAME = "the body"


def answer_csv(text: bytes, model: Model, check_rows: Callable[[int], None]) -> Answers:
    """Score CSV text in UTF-8 that begins with a header; `check_rows` gets the number of rows, and may raise.

    FileEmptyError for text without a header, FileMalformedError for a quote that never ends, ColumnMissingError for
    a column that the model needs and the header has not. All else that is wrong costs its row.
    """
    text = text.removeprefix(BOM)
    signature = model.signature
    dialect = find_dialect(text[:LOOKED_AT], CsvOptions(), signature, _NAME)
    if not text.endswith(b"\n"):
        text += b"\n"  # now all records are in one block
    blocks = cut_records(
        [text],
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        max_record=len(text),
        first_row=-1,
        file=_NAME,
    )
    first, *_ = (*blocks, None)
    if first is None:
        raise FileEmptyError("the body has not even a header", file=_NAME)
    header = read_header(first, dialect, signature, _NAME)
    check_columns(signature, header.schema, _NAME, hint=delimiter_hint(header, dialect))
    records = first.without_first()
    check_rows(len(records))
    cells = CellReader(header, signature, (), dialect).read(records)
    return answer_batch(cells.batch, cells.rejects, model)
