"""People name models in five forms; everything else is refused with what is wrong."""

import pytest

from errors import ReferenceInvalidError
from model_store import ModelReference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("churn", ModelReference("churn")),
        ("churn@champion", ModelReference("churn", alias="champion")),
        ("churn@3", ModelReference("churn", version=3)),
        ("models:/churn/3", ModelReference("churn", version=3)),
        ("models:/churn@champion", ModelReference("churn", alias="champion")),
        ("a.b-c_1", ModelReference("a.b-c_1")),
    ],
)
def test_references_are_read(text, reference):
    """MLflow's forms and the short ones mean the same."""
    assert ModelReference.parse(text) == reference
    assert ModelReference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["", "@", "churn@", "@3", "churn@0", "churn@03", "a/b", "churn/3", "../x", "a..b", "churn@a/b", "models:/"],
)
def test_what_is_no_reference_is_refused(text):
    """Nothing that could leave a folder or mean two things gets through."""
    with pytest.raises(ReferenceInvalidError):
        ModelReference.parse(text)
