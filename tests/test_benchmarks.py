"""What the benchmarks write about themselves."""

from benchmarks.results import write_section


def test_each_script_writes_its_own_section(tmp_path):
    """A section is replaced by its script's new one; the others, and their order, stay."""
    results = tmp_path / "RESULTS.md"
    write_section("First", "one\n", results)
    write_section("Second", "two\n\n| a |\n", results)
    write_section("First", "\nthree", results)
    assert results.read_text("utf-8") == "# Results\n\n## First\n\nthree\n\n## Second\n\ntwo\n\n| a |\n"
