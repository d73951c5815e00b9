"""The fuzz targets, for a moment: `make fuzz` runs them for as long as one likes."""

import pytest

from tests.fuzz.hunt import hunt


@pytest.mark.parametrize(("target", "cases"), [("csv", 60), ("parquet", 200), ("messages", 600), ("splits", 40)])
def test_no_case_does_what_no_case_may(target: str, cases: int) -> None:
    """Odd and damaged input ends in a result or an error of ours: no crash, no hang, no memory without bounds.

    Splits end as one go does.
    """
    report = hunt(target, seed=7, cases=cases)
    assert report.findings == []
    assert report.cases == cases
