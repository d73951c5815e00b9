"""Every operation, a few hundred requests: `make test-openapi` sends 20,000."""

from tests.conformance.hunt import hunt
from tests.conformance.scene import opened


def test_answers_are_what_the_document_says(tmp_path) -> None:
    """Statuses, types and bodies of answers are documented, no request gets a 5xx, and what fits is scored."""
    with opened(tmp_path) as scene:
        report = hunt(scene, cases=400, number=1, most=6)
    assert report.findings == {}, report.text()
    assert report.cases >= 400
