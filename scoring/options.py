"""What a job may ask for; the same names in JSON, HTTP and on the command line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from errors import OptionsInvalidError
from scoring.csv.encoding import check_encoding

Keep = Literal["all", "none"] | tuple[str, ...]
Format = Literal["csv", "parquet"]

NULL_SPELLINGS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Cells that mean "no value": what pandas.read_csv takes for one, since that is what models were trained on."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How a CSV file is written, as far as a job says so; the result is written the same way."""

    delimiter: str | None = None
    """What divides fields; None to find out (`csv/dialect.py`)."""
    quote: str | None = None
    """The quoting character, empty where the file has none; None to find out."""
    header: bool = True
    """Whether the first record names the columns; without it they are the model's inputs, in order."""
    encoding: str | None = None
    """Python's name of it (`csv/encoding.py`); None for UTF-8, or what a byte order mark or NUL bytes say."""
    decimal: str = "."
    """What stands before a number's decimals: a point or a comma."""

    def __post_init__(self) -> None:
        if self.delimiter is not None and (not _is_mark(self.delimiter) or self.delimiter in ('"', self.quote)):
            raise OptionsInvalidError("csv.delimiter must be one ASCII character that is no quote and no line end")
        if self.quote is not None and self.quote != "" and not _is_mark(self.quote):
            raise OptionsInvalidError("csv.quote must be one ASCII character, or empty for none")
        if self.decimal not in (".", ",") or self.decimal in (self.delimiter, self.quote):
            raise OptionsInvalidError('csv.decimal must be "." or ",", and not csv.delimiter or csv.quote too')
        if self.encoding is not None:
            if not isinstance(self.encoding, str):
                raise OptionsInvalidError("csv.encoding must be a str")
            check_encoding(self.encoding)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mark(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 1 and text.isascii() and text not in "\r\n\0"


@dataclass(frozen=True, slots=True)
class Options:
    """What a job asks for beyond its input and model."""

    keep: Keep = "all"
    """Which input columns the result keeps: all of them, none, or the named ones, before the model's outputs."""
    output_format: Format | None = None
    """The result's format; None for the input's."""
    error_threshold: float = 0.1
    """Rejected rows allowed: below 1 a fraction of the file's rows, from 1 a count, -1 for any number."""
    csv: CsvOptions = CsvOptions()

    def __post_init__(self) -> None:
        threshold = self.error_threshold
        if not _is_number(threshold) or not -1 <= threshold < 2**53:
            raise OptionsInvalidError("error_threshold must be a number from -1 on")
        if threshold != -1 and (threshold < 0 or (threshold >= 1 and threshold != int(threshold))):
            raise OptionsInvalidError(
                "error_threshold must be a fraction from 0 to below 1, a whole number of rows, or -1 for any number"
            )
        if self.output_format is not None and self.output_format not in get_args(Format):
            raise OptionsInvalidError(f"output_format must be one of {', '.join(get_args(Format))}")

    def allows(self, rejected: int, rows: int) -> bool:
        """Say whether `rejected` of `rows` rows are within the threshold."""
        if self.error_threshold == -1:
            return True
        if self.error_threshold < 1:
            return rejected == 0 or rejected / rows <= self.error_threshold
        return rejected <= self.error_threshold

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON has them, every one spelled out."""
        keep = self.keep if isinstance(self.keep, str) else list(self.keep)
        return asdict(self) | {"keep": keep}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Options":
        """Read options from JSON; OptionsInvalidError names what is unknown or does not fit."""
        values = dict(_known(given, cls, ""))
        if isinstance(values.get("csv"), Mapping):
            values["csv"] = CsvOptions(**_known(values["csv"], CsvOptions, "csv."))
        elif "csv" in values:
            raise OptionsInvalidError('csv must be an object such as {"delimiter": ";"}')
        if "keep" in values:
            values["keep"] = _keep(values["keep"])
        return cls(**values)


def _keep(given: Any) -> Keep:
    if given in ("all", "none"):
        return given  # type: ignore[no-any-return]  # it is one of the two literals
    if isinstance(given, list) and all(isinstance(name, str) for name in given) and len(set(given)) == len(given):
        return tuple(given) or "none"
    raise OptionsInvalidError('keep must be "all", "none" or a list of different column names')


def _known(given: Mapping[str, Any], kind: type, prefix: str) -> Mapping[str, Any]:
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(given) - set(known)):
        raise OptionsInvalidError(f"there is no option {prefix}{unknown[0]}; there are: {', '.join(known)}")
    for name, value in given.items():
        default = known[name].default
        if isinstance(default, str | bool) and name != "keep" and type(value) is not type(default):
            raise OptionsInvalidError(f"option {prefix}{name} must be a {type(default).__name__}")
    return given
