"""What a Parquet file says of its columns beside its schema, made right for a file with other columns."""

import json
from collections.abc import Mapping

import pyarrow as pa

SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
"""Where Spark writes its own schema. It reads the columns that are named there, and no others."""


def with_columns(properties: Mapping[bytes, bytes] | None, schema: pa.Schema) -> dict[bytes, bytes]:
    """Return a file's key-value metadata as a file with the columns of `schema` has it.

    Spark's schema gets the columns it does not know, and loses those that are gone; the rest stays. pandas' need
    not be changed: pandas reads all columns, and takes a range index that does not fit for none.
    """
    kept = dict(properties or {})
    if SPARK_SCHEMA in kept:
        kept[SPARK_SCHEMA] = _spark_schema(kept[SPARK_SCHEMA], schema)
    return kept


def _spark_schema(text: bytes, schema: pa.Schema) -> bytes:
    try:
        known = {column["name"]: column for column in json.loads(text)["fields"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        return text  # Spark cannot read it either, and takes the file's schema
    columns = [
        known.get(field.name)
        or {"name": field.name, "type": _spark_type(field.type), "nullable": True, "metadata": {}}
        for field in schema
    ]
    return json.dumps({"type": "struct", "fields": columns}, ensure_ascii=False, separators=(",", ":")).encode()


def _spark_type(kind: pa.DataType) -> str:
    """Return Spark's name of the type of a column that we add."""
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    return _SPARK_TYPES.get(kind, "string")


_SPARK_TYPES = {
    pa.float64(): "double",
    pa.float32(): "float",
    pa.int64(): "long",
    pa.int32(): "integer",
    pa.bool_(): "boolean",
}
