"""Comparing two versions before an alias is moved."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import typer
from rich.markup import escape
from rich.table import Table

from errors import FileMalformedError, FormatUnsupportedError
from model_store.commands.terminal import console, open_registry
from model_store.diff import Diff, diff, golden_batches
from model_store.model import Model
from model_store.registry import ModelVersion, Registry
from storage.command_line import Store, errors_as_text

BATCH_ROWS = 65_536


def diff_versions(
    old: Annotated[str, typer.Argument(help="Such as churn@champion.")],
    new: Annotated[str, typer.Argument(help="Such as churn@4.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Rows to score: .csv or .parquet. The golden rows of both if left out.",
        ),
    ] = None,
    store: Store = None,
) -> None:
    """Score the rows of FILE with two versions, and show how NEW answers otherwise than OLD.

    PSI, the population stability index, is the sum over bins of (n - o) * ln(n / o): o and n are the shares of
    OLD's and NEW's answers in the bin, at least 0.0001. Bins are the deciles of OLD's answers, or the labels.
    """
    with errors_as_text():
        registry = open_registry(store)
        versions = registry.resolve(old), registry.resolve(new)
        before, after = (_opened(registry, version) for version in versions)
        if file is None:
            found = diff(before, after, golden_batches(before, after))
        else:
            names = {column.name for model in (before, after) for column in model.signature.inputs}
            found = diff(before, after, read_batches(file, names))
        _print(found, versions, file.name if file else "their golden rows")


def read_batches(file: Path, names: set[str]) -> Iterator[pa.RecordBatch]:
    """Yield a file's columns of these names in batches: a CSV's as texts, a Parquet file's as they are.

    FormatUnsupportedError by the file's name, FileMalformedError if it is not what that says.
    """
    try:
        match file.suffix.lower():
            case ".csv":
                yield from _read_csv(file, names)
            case ".parquet":
                with pq.ParquetFile(file) as parquet:
                    columns = [name for name in parquet.schema_arrow.names if name in names]
                    yield from parquet.iter_batches(BATCH_ROWS, columns=columns)
            case _:
                raise FormatUnsupportedError(f"{file.name} is neither .csv nor .parquet")
    except (pa.ArrowInvalid, OSError) as error:  # what Arrow says may quote cells
        raise FileMalformedError(
            f"{file.name} cannot be read as {file.suffix[1:]}: {type(error).__name__}"
        ) from error


def _read_csv(file: Path, names: set[str]) -> Iterator[pa.RecordBatch]:
    csv = pa.csv
    with csv.open_csv(file) as header:
        columns = [name for name in header.schema.names if name in names]
    options = csv.ConvertOptions(
        include_columns=columns,
        column_types=dict.fromkeys(columns, pa.string()),  # cast later, so that a bad cell costs its row alone
        strings_can_be_null=True,
    )
    with csv.open_csv(file, convert_options=options) as reader:
        yield from reader


def _opened(registry: Registry, version: ModelVersion) -> Model:
    with TemporaryDirectory() as temporary:
        registry.fetch(version, Path(temporary))
        return Model.open(Path(temporary))


def _print(found: Diff, versions: tuple[ModelVersion, ModelVersion], rows: str) -> None:
    old, new = versions
    table = Table("output", "max diff", "mean diff", "flips", "per million", "PSI")
    for output in found.outputs:
        table.add_row(
            escape(output.name),
            "" if output.max_difference is None else f"{output.max_difference:.3g}",
            "" if output.mean_difference is None else f"{output.mean_difference:.3g}",
            "" if output.flips is None else f"{output.flips:,}",
            "" if output.flips_per_million is None else f"{output.flips_per_million:,.0f}",
            f"{output.psi:.4f}",
        )
    console.print(f"{old} -> {new} on {escape(rows)}: {found.rows:,} rows compared", soft_wrap=True)
    console.print(table)
    for count, who in (
        (found.rejected_by_old, f"{old} alone"),
        (found.rejected_by_new, f"{new} alone"),
        (found.rejected_by_both, "both"),
    ):
        if count:
            console.print(f"rejected by {who}: {count:,}", soft_wrap=True)
    for outputs, version in ((found.dropped, old), (found.added, new)):
        if outputs:
            console.print(f"only {version} answers {escape(', '.join(outputs))}", soft_wrap=True)
