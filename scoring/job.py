"""What to score: an input, a model, options; and the run that one job on one version of its input is."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from errors import MessageInvalidError, NameInvalidError
from model_store import ModelReference
from model_store.registry import ModelVersion
from scoring.options import Format, Options
from scoring.table_parts import SUCCESS, is_part
from scoring.trail import current_traceparent, read_traceparent
from storage import Blob, BlobPath
from storage.names import check_path

FORMATS: Mapping[str, Format] = {
    ".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv", ".tsv": "csv", ".tsv.gz": "csv", ".tsv.zst": "csv",
    ".parquet": "parquet",
}  # fmt: skip
"""What names of files end with, and the format that says."""

MOST_ATTEMPTS = 999
"""How often a job may be replayed."""

LAST_VERSION = 999_999_999
"""A model reference has at most so many digits."""


def format_of(name: str) -> Format | None:
    """Return a file's format by its name; None for a name that says none we know."""
    return next((kind for ending, kind in FORMATS.items() if name.lower().endswith(ending)), None)


@dataclass(frozen=True, slots=True)
class Job:
    """Score one file with one model."""

    input: BlobPath
    """A file; or, where its name ends in "/", a folder: its files' jobs are made of that (scoring/intake.py)."""
    model: ModelReference
    options: Options = Options()
    etag: str | None = None
    """The version of the input that is meant; None for whichever is there when the run begins."""
    attempt: int = 0
    """How often it was replayed: each time is a run of its own, so what came of the ones before stays on record."""
    version: int | None = None
    """The model's version that is meant; None for the one that the reference means when the run begins."""
    traceparent: str | None = field(default_factory=current_traceparent, compare=False)
    """The trace that its run belongs to, of whoever made it; no part of what the run is."""

    @property
    def model_meant(self) -> ModelReference:
        """What is looked up: `model`, or the version of it that is meant, to whatever an alias has moved since."""
        return replace(self.model, alias=None, version=self.version) if self.version else self.model

    def __post_init__(self) -> None:
        if self.etag and not (self.etag.isascii() and self.etag.isprintable() and '"' not in self.etag):
            raise MessageInvalidError(
                "the etag is none that storage gives: leave it out, or copy it as it is", file=str(self.input)
            )

    @property
    def is_of_folder(self) -> bool:
        """Whether the job is one for each file of a folder."""
        return self.input.name.endswith("/")

    @classmethod
    def for_dropped(cls, path: BlobPath, etag: str | None = None) -> "Job":
        """Return the job of a dropped file: its first folder names the model.

        NameInvalidError where there is no such folder or the name cannot be scored under, ReferenceInvalidError
        where the folder is no model reference.
        """
        check_name(path)
        return cls(path, _model_of(path), etag=etag)

    @classmethod
    def for_path(cls, path: BlobPath) -> "Job":
        """Return the job of a file, or of a folder if the name ends in "/", of which only the path is said."""
        check_name(BlobPath(path.container, path.name.removesuffix("/")))
        return cls(path, _model_of(path))

    def to_json(self) -> str:
        """Return the job as a queue message holds it."""
        what = {"input": str(self.input), "etag": self.etag, "model": str(self.model)}
        more = {"attempt": self.attempt, "version": self.version, "traceparent": self.traceparent}
        return json.dumps(what | {k: v for k, v in more.items() if v} | self.options.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read a queue message; MessageInvalidError, or the error of the part that is wrong."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MessageInvalidError("the message is not JSON; " + _EXAMPLE) from error
        if not isinstance(message, dict):
            raise MessageInvalidError("the message is not a JSON object; " + _EXAMPLE)
        fields: dict[str, Any] = dict(message)
        place = fields.pop("input", None)
        if not isinstance(place, str):
            raise MessageInvalidError('the message has no "input"; ' + _EXAMPLE)
        path = BlobPath.parse(place)
        check_name(BlobPath(path.container, path.name.removesuffix("/")))
        model, etag, attempt = fields.pop("model", None), fields.pop("etag", None), fields.pop("attempt", 0)
        if etag is not None and not isinstance(etag, str):
            raise MessageInvalidError('"etag" must be a text; ' + _EXAMPLE)
        etag = etag and etag.strip('"')  # Event Grid and HTTP write it in quotes
        if type(attempt) is not int or not 0 <= attempt <= MOST_ATTEMPTS:
            raise MessageInvalidError(f'"attempt" must be a whole number from 0 to {MOST_ATTEMPTS}; ' + _EXAMPLE)
        trace = read_traceparent(fields.pop("traceparent", None)) or current_traceparent()
        version = fields.pop("version", None)
        if version is not None and (type(version) is not int or not 0 < version <= LAST_VERSION):
            raise MessageInvalidError(f'"version" must be a whole number from 1 to {LAST_VERSION}; ' + _EXAMPLE)
        if model is not None and not isinstance(model, str):
            raise MessageInvalidError('"model" must be a text such as "churn" or "churn@3"; ' + _EXAMPLE)
        reference = _model_of(path) if model is None else ModelReference.parse(model)
        if version and reference.version not in (None, version):
            raise MessageInvalidError(f'"model" and "version" name different versions of a model; {_EXAMPLE}')
        return cls(path, reference, Options.from_dict(fields), etag, attempt, version, trace)

    def scored_name(self, incoming: str) -> str:
        """Return the name of the result: `result_name`, with the format behind it if that is not the input's.

        `churn/a.csv.parquet`, and not `churn/a.parquet`: that is the result of an input of that name. An input that
        is itself called as a result in another format has its own format behind it once more: `a.csv.parquet`
        becomes `churn/a.csv.parquet.parquet`.
        """
        name, own = self.result_name(incoming), format_of(self.input.name)
        wanted = self.options.output_format or own
        if own is None or (wanted == own and not _looks_converted(name)):
            return name
        return f"{name}.{wanted}"

    def result_name(self, incoming: str) -> str:
        """Return the name of the rejects: <model reference>/<the input's path in its folder>.

        So it is for a file of the model's own folder: `churn/a.csv` scored by `churn` is `churn/a.csv` again. All
        others have container and path behind a folder that is reserved for them: `churn/_from/incoming/risk/a.csv`.
        A file that is called as the parts of a Parquet result are, in a folder that is called as such a result, has
        `.files` behind the folder. So no two inputs share a result, and no result is its own input.
        """
        folder, _, rest = self.input.name.partition("/")
        is_own = self.input.container == incoming and folder == str(self.model)
        if not is_own or not rest or rest.partition("/")[0] == _FROM:
            rest = f"{_FROM}/{self.input}"
        place, _, file = rest.rpartition("/")
        if (is_part(file) or file == SUCCESS) and _TABLE.fullmatch(place):
            rest = f"{place}.files/{file}"
        return f"{self.model}/{rest}"


_FROM = "_from"
_TABLE = re.compile(r".*\.parquet(\.files)*", re.IGNORECASE | re.DOTALL)


def _looks_converted(name: str) -> bool:
    """Say whether a file is called as the result of another is, in another format than that one's."""
    kind, base = format_of(name), name
    while base.lower().endswith(f".{kind}"):
        base = base[: -len(f".{kind}")]
    return format_of(base) not in (None, kind)


_EXAMPLE = 'write {"input": "incoming/churn/rows.csv", "model": "churn"}'


def _model_of(path: BlobPath) -> ModelReference:
    folder, slash, _ = path.name.partition("/")
    if not slash:
        raise NameInvalidError(
            "the file lies outside any model's folder: drop it as <model>/<file>, for example churn/rows.csv",
            file=str(path),
        )
    return ModelReference.parse(folder)


def check_name(path: BlobPath) -> None:
    """Refuse names that no blob can have, or that storage clients would change on the way: NameInvalidError."""
    check_path(path)
    if "" in path.name.split("/") or "\\" in path.name:
        raise NameInvalidError("the name has an empty part or a backslash: rename the file", file=str(path))


@dataclass(frozen=True, slots=True)
class Run:
    """One job on one version of its input, with the model version that was current when it began."""

    job: Job
    input: Blob | None
    """None where there is no such blob."""
    model: ModelVersion | None
    """None where there is no such model."""

    @property
    def id(self) -> str:
        """32 hexadecimal digits of a SHA-256: the same for every delivery of the same job."""
        identity = {
            "input": str(self.job.input),
            "etag": self.input.etag if self.input else self.job.etag,
            "reference": str(self.job.model),
            "model": [self.model.name, self.model.version, self.model.digest] if self.model else None,
            "options": self.job.options.to_dict(),
        } | ({"attempt": self.job.attempt} if self.job.attempt else {})
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
