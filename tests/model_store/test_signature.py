"""A signature speaks MLflow's types to MLflow and Arrow's to us."""

import pyarrow as pa
import pytest

from errors import PackageInvalidError
from model_store import Column, ColumnType, Signature


def test_every_type_survives_mlflow_and_has_an_arrow_type():
    """What is written to MLmodel is read back; nullability comes from beside it."""
    columns = tuple(Column(kind.value, kind, nullable=kind is ColumnType.DOUBLE) for kind in ColumnType)
    signature = Signature(columns, (Column("prediction", ColumnType.LONG),))
    nullable = {column.name: column.nullable for column in columns}
    assert Signature.from_mlflow(signature.to_mlflow(), nullable) == signature
    assert signature.input_schema.field("double") == pa.field("double", pa.float64())
    assert not signature.input_schema.field("string").nullable


def test_what_a_column_refuses_comes_from_beside_mlflow():
    """Limits and allowed texts are read back; an older package that has none takes everything."""
    columns = (
        Column("size", ColumnType.DOUBLE, limit=3.5e38),
        Column("plan", ColumnType.STRING, allowed=("a", "b")),
        Column("town", ColumnType.STRING),
    )
    signature = Signature(columns, (Column("prediction", ColumnType.LONG),))
    nullable = dict.fromkeys(["size", "plan", "town"], True)
    refusals = {column.name: column.refusals for column in columns if column.refusals}
    assert refusals == {"size": {"limit": 3.5e38}, "plan": {"allowed": ["a", "b"]}}
    assert Signature.from_mlflow(signature.to_mlflow(), nullable, refusals) == signature
    assert all(not column.refusals for column in Signature.from_mlflow(signature.to_mlflow(), nullable).inputs)


@pytest.mark.parametrize("refusals", [[], {"a": 1}, {"a": {"limit": "x"}}, {"a": {"allowed": 5}}])
def test_refusals_that_cannot_be_read_are_a_damaged_package(refusals):
    """A sealed manifest of the wrong form is an error of ours."""
    signature = Signature((Column("a", ColumnType.DOUBLE),), ())
    with pytest.raises(PackageInvalidError, match="cannot be read"):
        Signature.from_mlflow(signature.to_mlflow(), {"a": True}, refusals)


def test_a_column_appears_once():
    """Two columns of one name could not be told apart."""
    with pytest.raises(PackageInvalidError, match="'a' appears twice"):
        Signature((Column("a", ColumnType.LONG), Column("a", ColumnType.DOUBLE)), ())


@pytest.mark.parametrize(
    "entry", [{}, {"inputs": "[]"}, {"inputs": "[{}]", "outputs": "[]"}, {"inputs": "x", "outputs": ""}]
)
def test_a_signature_that_cannot_be_read_is_a_damaged_package(entry):
    """Whatever is wrong with it, it is one kind of error."""
    with pytest.raises(PackageInvalidError, match="cannot be read"):
        Signature.from_mlflow(entry, {})
