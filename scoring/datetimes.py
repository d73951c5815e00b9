"""Dates and times written as text: what CSV cells, JSON and paths hold."""

import pyarrow as pa
import pyarrow.compute as pc

from model_store.arrays import scalar

_LOCAL = pa.timestamp("us")
_ZONED = pa.timestamp("us", "UTC")
_ZONE = r"\d[T ]\d.*(Z|[+-]\d\d(:?\d\d)?)$"
_PAST_MICROSECONDS = r"(\.\d{6})0+"  # .NET writes seven digits, Java nine


def read_datetimes(texts: pa.Array) -> pa.Array:
    """Read ISO 8601 texts as timestamps of microseconds in UTC; pa.ArrowInvalid if one is none.

    A text with a zone (`Z`, `+02:00`) is converted to UTC, one without is in UTC already: as pandas.to_datetime
    does with utc=True, and as Parquet stores zoned times.
    """
    for kind in (_LOCAL, _ZONED):  # a file is written one way, so mostly one of these does for all
        try:
            return pc.cast(texts, kind).cast(_LOCAL)
        except pa.ArrowInvalid:
            continue
    texts = pc.replace_substring_regex(texts, _PAST_MICROSECONDS, r"\1")
    zoned = pc.match_substring_regex(texts, _ZONE)
    nothing = scalar(None, texts.type)
    return pc.coalesce(
        pc.cast(pc.if_else(zoned, nothing, texts), _LOCAL),
        pc.cast(pc.if_else(zoned, texts, nothing), _ZONED).cast(_LOCAL),
    )
