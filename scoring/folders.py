"""Score a local folder: every file of it in turn, a line for each, and a total."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import typer

from errors import DropscoreError, FileEmptyError, OptionsInvalidError
from model_store import ModelReference
from scoring.job import Job, format_of
from scoring.local_files import fetch, make_folder, name_of, place
from scoring.options import Options
from scoring.part_files import is_hidden
from scoring.pipeline import quiet, run_here
from scoring.receipt import Receipt
from scoring.runs import with_result
from scoring.services import Services
from scoring.terminal import problem, progress_of
from storage import BlobPath


@dataclass(frozen=True, slots=True)
class FolderScoring:
    """How the files of a folder are scored."""

    model: ModelReference
    options: Options
    services: Services
    as_json: bool = False
    """Whether stdout gets each file's receipt, one a line, or its error, and nothing else is shown."""
    be_quiet: bool = False
    """Whether only failures are shown."""

    def score(self, folder: Path, output: Path | None = None) -> bool:
        """Score the CSV and Parquet files at any depth below `folder`, in name order; return whether all succeeded.

        Results lie below the folder's name, in its sub-folders; they are copied to `output` too if that is given.
        FileEmptyError where there is nothing to score.
        """
        if output and output.resolve() == folder.resolve():
            raise OptionsInvalidError("the output is the folder itself: results would replace their inputs")
        if output:
            make_folder(output)
        parts = list(_parts(folder, output))
        if not parts:
            raise FileEmptyError(f"no CSV or Parquet file lies below {folder}")
        rows, statuses, seconds = Counter[str](), Counter[str](), 0.0
        for part in parts:
            receipt = self._score_part(folder, part, output)
            statuses["failed" if receipt is None else receipt.status] += 1
            if receipt:
                rows.update(receipt.rows)
                seconds += receipt.seconds
        counts = ", ".join(f"{number:,} {status}" for status, number in sorted(statuses.items(), reverse=True))
        self._say(
            f"{len(parts):,} files: {counts}; {rows['read']:,} rows read = {rows['scored']:,} scored + "
            f"{rows['rejected']:,} rejected in {seconds:.2f} s"
        )
        return set(statuses) == {"succeeded"}

    def _score_part(self, folder: Path, part: PurePosixPath, output: Path | None) -> Receipt | None:
        """Score one file; None where it cannot even begin."""
        incoming, blobs = self.services.settings.incoming, self.services.blobs
        file = folder / part
        path = BlobPath(incoming, str(PurePosixPath(str(self.model), name_of(folder.resolve()), part)))
        try:
            job = Job(path, self.model, self.options)
            place(blobs, file, job.input)
            silent = self.as_json or self.be_quiet
            with nullcontext(quiet) if silent else progress_of(str(part), file.stat().st_size) as progress:
                receipt = run_here(with_result(job, self.services), self.services, progress)
        except DropscoreError as error:
            self._report({"status": "failed", "input": {"path": str(path)}, "error": error.to_dict()})
            self._say(f"failed  {part}  {error.code}: {error.message}", failed=True)
            return None
        self._report(asdict(receipt))
        if receipt.error:
            self._say(f"{receipt.status}  {part}  {problem(receipt.error)}", failed=True)
            return receipt
        rejected = f", {receipt.rows['rejected']:,} rejected" if receipt.rows["rejected"] else ""
        self._say(f"scored  {part}  {receipt.rows['read']:,} rows{rejected}, {receipt.seconds:.2f} s")
        if output and receipt.output:
            target = output / part.parent / PurePosixPath(receipt.output).name
            make_folder(target.parent)
            fetch(receipt, self.services, target)
        return receipt

    def _report(self, record: dict[str, object]) -> None:
        if self.as_json:
            typer.echo(json.dumps(record))

    def _say(self, text: str, *, failed: bool = False) -> None:
        if not self.as_json and (failed or not self.be_quiet):
            typer.secho(text, err=True, fg=typer.colors.RED if failed else None)


def _parts(folder: Path, output: Path | None) -> Iterator[PurePosixPath]:
    """Yield what is to be scored, relative to `folder`, without what an earlier run has copied to `output`."""
    for file in sorted(folder.rglob("*")):
        part = PurePosixPath(file.relative_to(folder).as_posix())
        copied = output and output.resolve() in file.resolve().parents
        if format_of(part.name) and not is_hidden(str(part)) and file.is_file() and not copied:
            yield part
