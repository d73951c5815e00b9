"""What the benchmarks make, and what they write about themselves."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from benchmarks.engine import answers, data, report
from benchmarks.engine.branches import ROW_REPEATED, ROWS_OF_FILE
from benchmarks.engine.cells import Cell, Measured, Run, Setting
from benchmarks.engine.data_path import look_at, measure, parse
from benchmarks.engine.profile import where_time_goes
from benchmarks.engine.start import import_times
from benchmarks.engine.steps import ALONE, STEPS
from benchmarks.engine.steps import OURS as BY_US
from benchmarks.engine.systems import with_receipt, without_slower
from benchmarks.engine.targets import TARGETS, judge
from benchmarks.results import write_section
from model_store.model import Model
from scoring.csv.cells import CellReader
from scoring.csv.dialect import Dialect
from scoring.csv.header import Header
from scoring.csv.records import cut_records
from tests.hand_model import make_sample

LINEAR = Setting("logreg", "csv", "id", 2_000_000)
STAGES = {"parse": 1.5, "score": 0.5, "encode": 0.5}
OURS = Run(wall=2.0, cpu=3.0, peak=300.0, seconds=1.5, stages_cpu=STAGES, stages_wall=STAGES)
MEASURED = Measured(
    (
        Cell(
            "sides",
            LINEAR,
            {
                "dropscore": (replace(OURS, wall=9.0), OURS, replace(OURS, wall=1.0)),
                "pandas": (Run(13.0, 14.0, 2800.0), Run(14.0, 14.0, 2800.0), Run(15.0, 14.0, 2800.0)),
                "dropscore-one-row": (Run(0.5, 0.5, 120.0, 0.1, {"parse": 0.01, "score": 0.02}),),
                "mlflow-onnx": (Run(12.0, 14.0, 4300.0),),
            },
            {"mlflow-sklearn": Run(16.0, 16.0, 3200.0)},
            cores=2,
            machine="a machine",
            commit="abc1234",
        ),
    )
)


def verdict(measured: Measured, title: str, setting: Setting = LINEAR):
    [found] = [
        each
        for each in judge(measured)
        if (each.target.title, each.target.format, each.target.keep) == (title, setting.format, setting.keep)
        and each.model == setting.model
    ]
    return found


def test_each_script_writes_its_own_section(tmp_path):
    """A section is replaced by its script's new one; the others, and their order, stay."""
    results = tmp_path / "RESULTS.md"
    write_section("First", "one\n", results)
    write_section("Second", "two\n\n| a |\n", results)
    write_section("First", "\nthree", results)
    assert results.read_text("utf-8") == "# Results\n\n## First\n\nthree\n\n## Second\n\ntwo\n\n| a |\n"


def test_the_same_rows_are_made_every_time():
    """Rows are the same every time, and a smaller file's are the first of a larger one's."""
    large, small = (pa.concat_tables(data.make_tables(count, piece_rows=100)) for count in (250, 130))
    assert large["id"].to_pylist() == list(range(250))
    assert large.slice(0, 130).equals(small)
    assert not large.slice(100, 30).drop("id").equals(large.slice(0, 30).drop("id"))


def test_both_files_hold_the_same_rows(tmp_path):
    """CSV and Parquet have the same cells, CSV without quotes and with nulls as nothing."""
    data.make_files(1000, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows-1000.csv", "rows-1000.parquet"]
    rows = pa.parquet.read_table(tmp_path / "rows-1000.parquet")
    types = pa.csv.ConvertOptions(column_types=rows.schema, strings_can_be_null=True)
    assert pa.csv.read_csv(tmp_path / "rows-1000.csv", convert_options=types).equals(rows)
    assert b'"' not in (tmp_path / "rows-1000.csv").read_bytes()
    assert rows["n00"].null_count > 0 < rows["segment"].null_count


def test_other_answers_than_ours_are_told():
    """Another label, another order or a probability more than 1e-6 away is a difference; a millionth is none."""
    ours = pa.table({"id": [1, 2], "prediction": ["no", "yes"], "probability_yes": [0.25, 0.75]})

    def changed(name: str, cells: list) -> pa.Table:
        return ours.set_column(ours.schema.get_field_index(name), name, pa.array(cells))

    assert not answers.compare(ours, changed("probability_yes", [0.25 + 9e-7, 0.75]))
    assert "1 of 2" in answers.compare(ours, changed("probability_yes", [0.25 + 2e-6, 0.75]))
    assert "1 of 2" in answers.compare(ours, changed("probability_yes", [float("nan"), 0.75]))
    assert "1 cells are empty" in answers.compare(ours, changed("probability_yes", [None, 0.75]))
    assert answers.compare(ours, changed("prediction", ["no", "no"])) == "prediction differs in 1 of 2 rows"
    assert answers.compare(ours, changed("id", [2, 1])) == "id differs in 2 of 2 rows"
    assert answers.compare(ours, ours.slice(1)) == "2 rows, theirs 1"


def test_a_run_that_did_not_score_all_rows_is_none(tmp_path):
    """Our runs count only if their receipt says that all rows were scored; it also gives the stages."""
    stages = {"wall": {"parse": 2.0}, "cpu": {"parse": 1.0}}
    receipt = {"status": "succeeded", "rows": {"scored": 5}, "seconds": 1.5, "stages": stages}
    file = tmp_path / "runs" / "1f" / "receipt.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(receipt), "utf-8")
    taken = with_receipt(Run(2.0, 3.0, 300.0), Setting("logreg", "csv", "id", 5), tmp_path)
    assert taken == Run(2.0, 3.0, 300.0, 1.5, {"parse": 1.0}, {"parse": 2.0})
    with pytest.raises(SystemExit, match="was not scored"):
        with_receipt(Run(2.0, 3.0, 300.0), Setting("logreg", "csv", "id", 6), tmp_path)


def test_what_was_measured_is_kept(tmp_path):
    """Cells are read back as they were written; a new one of the same setting takes the old one's place."""
    file = tmp_path / "engine.json"
    assert Measured.read(file) == Measured()
    MEASURED.write(file)
    assert Measured.read(file) == MEASURED
    newer = replace(MEASURED.cells[0], commit="def5678")
    other = replace(newer, series="growth")
    assert MEASURED.with_cell(other).with_cell(newer).cells == (newer, other)


def test_of_mlflow_only_the_fastest_is_measured():
    """One run of each decides which of MLflow's flavors takes part; others always do."""
    probes = {"dropscore": 1.0, "pandas": 9.0, "mlflow-sklearn": 8.0, "mlflow-onnx": 7.0}
    runs = {name: Run(wall, wall, 100.0) for name, wall in probes.items()}
    assert without_slower(runs) == ["dropscore", "pandas", "mlflow-onnx"]


def test_targets_are_judged_by_medians():
    """A ratio of medians above its limit is met, one below it is missed, and what was not measured is neither."""
    pandas = verdict(MEASURED, "pandas + joblib, its wall s over ours")
    mlflow = verdict(MEASURED, "mlflow.pyfunc, the fastest of its flavors, its wall s over ours")
    polars = verdict(MEASURED, "polars + onnxruntime, its wall s over ours")
    assert (pandas.value, pandas.limit, pandas.met) == (7.0, 7, True)
    assert (mlflow.value, mlflow.limit, mlflow.met) == (6.0, 6.5, False)
    assert (polars.value, polars.met) == (None, None)


def test_targets_of_our_own_runs():
    """Memory is the process's peak; the data path is all but the stage "score"; seconds are the receipt's."""
    path = verdict(MEASURED, "data path by stages, CPU microseconds a row")
    assert (path.value, path.met) == (1.0, True)
    path = verdict(MEASURED, "data path by the process, CPU microseconds a row")
    assert path.value == pytest.approx((3.0 - 0.5 - 0.48) / 1_999_999 * 1e6)
    busy = verdict(MEASURED, "the run's wall s over its stages' CPU s / cores")
    assert (busy.value, busy.met) == (1.2, False)
    assert verdict(MEASURED, "peak memory, MB").met is True


def test_growth_is_judged_by_runs_of_the_same_series():
    """Ten times the rows may take 10.3 times as long, and hardly more memory."""
    sizes = {1_000_000: Run(2.0, 3.0, 290.0), 2_000_000: Run(3.9, 6.0, 300.0), 10_000_000: Run(20.0, 30.0, 331.0)}
    cells = [Cell("growth", replace(LINEAR, rows=rows), {"dropscore": (run,)}) for rows, run in sizes.items()]
    measured = Measured((*MEASURED.cells, *cells))
    assert verdict(measured, "wall s of 10 million rows over those of 1 million").met is True
    assert verdict(measured, "peak memory of 10 million rows over that of 2 million").met is False


def test_every_part_of_the_issue_has_targets():
    """Each system, format and kept columns that the issue names has its number for each model."""
    limits = {(target.title.partition(",")[0], target.format, target.keep): target.limits for target in TARGETS}
    assert limits["pandas + joblib", "csv", "all"] == {"logreg": 22, "rf": 8, "gb": 8, "hgb": 8, "lgbm": 8}
    assert limits["polars + onnxruntime", "csv", "all"] == {"logreg": 1.7} | dict.fromkeys(
        ("rf", "gb", "hgb", "lgbm"), 1.2
    )
    assert limits["data path by stages", "parquet", "id"] == dict.fromkeys(
        ("logreg", "rf", "gb", "hgb", "lgbm"), 0.7
    )
    assert not limits["mlflow.pyfunc", "parquet", "all"]


def test_tables_are_written_of_what_was_measured():
    """Sections show medians, ratios, the flavor that was left out, and each target met or missed."""
    sides, targets, profile = report.render(MEASURED).values()
    assert "### CSV to CSV, id + outputs kept, 2,000,000 rows" in sides
    assert "| logreg | Dropscore | 3 | 2.00 | 3.00 | 1,000,000 | 300 MB | 1.00 |" in sides
    assert "| logreg | pandas + joblib | 3 | 14.00 | 14.00 | 142,857 | 2,800 MB | 7.00 |" in sides
    assert "| logreg | mlflow.pyfunc, sklearn flavor | 1 | 16.00 |" in sides
    assert "a machine. Commit abc1234." in sides
    assert "4 of 6 numbers meet their target" in targets
    assert "its wall s over ours | csv | id | 7.00 (>= 7) |" in targets
    assert "| **6.00, missed** (>= 6.5) |" in targets
    assert "| logreg | csv | id | 2.00 | 0.50 | 1.50 | 1.50 | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 |" in profile


def test_where_time_goes_is_shown_of_what_misses_only():
    """A setting that meets all its targets has no line there."""
    met = [each for each in judge(MEASURED) if each.met]
    assert where_time_goes(MEASURED, met, LINEAR.rows) == ""


def test_what_wrong_guesses_cost_is_their_share_of_the_time():
    """Of 8,000 ns a row, one row repeated takes 2,000: three quarters are the processor's wrong guesses."""
    start = {"programs": {}, "imports": {}, "machine": "a machine"}
    trees = {"hgb": {ROWS_OF_FILE: 8000.0, ROW_REPEATED: 2000.0}}
    text = where_time_goes(Measured(start=start | {"branches": trees}), [], LINEAR.rows)
    assert "| hgb | 8,000 | 2,000 | 75% |" in text
    assert "wrong guesses" not in where_time_goes(Measured(start=start), [], LINEAR.rows)


def test_steps_are_added_up_without_their_parts():
    """The sentence says the sums and their difference; a part of a step is in the table and not in the sums."""
    start = {"programs": {}, "imports": {}, "machine": "a machine"}
    steps = {name: {BY_US: 0.25, ALONE: 0.125} for name in STEPS} | {"split": {ALONE: 0.0625}}
    text = where_time_goes(Measured(start=start | {"steps": steps}), [], LINEAR.rows)
    assert "of the 1.75 that the data path's\nsteps take" in text
    assert "alone take 0.88, so all that our own code adds is 0.88." in text
    assert "| writing into the page cache | `write` | 0.250 | 0.125 |" in text
    assert "| `read_csv` to one binary column |  | 0.062 |" in text
    assert "| together, each once | | 1.750 | 0.875 |" in text
    assert "page cache" not in where_time_goes(Measured(start=start), [], LINEAR.rows)


@pytest.fixture
def plain_file(tmp_path):
    file = tmp_path / "rows.csv"
    rows = make_sample(1000)
    rows = rows.add_column(0, "id", pa.array(range(1000)))
    pa.csv.write_csv(rows, file, pa.csv.WriteOptions(quoting_style="none", quoting_header="none"))
    return file


def test_steps_are_measured_of_a_files_first_blocks(plain_file, hand_package):
    """Every step has its number, ours where our code has the step; nothing is left beside the file."""
    taken = measure(plain_file, Model.open(hand_package), blocks=3, rounds=2, block_bytes=4000)
    assert taken.keys() == STEPS.keys()
    assert {name for name, numbers in taken.items() if BY_US not in numbers} == {"bytes", "split"}
    assert all(number >= 0 for numbers in taken.values() for number in numbers.values())
    assert list(plain_file.parent.iterdir()) == [plain_file]


def test_blocks_are_whole_records_one_after_the_other(plain_file):
    """They begin behind the header, and the last one ends with the file."""
    names, blocks = look_at(plain_file, 1000, 4000)
    header, rest = plain_file.read_bytes().split(b"\n", 1)
    assert ",".join(names).encode() == header
    start = len(header) + 1
    texts = [rest[block.offset - start : block.offset - start + block.length] for block in blocks]
    assert b"".join(texts) == rest
    assert all(len(text) <= 4000 and text.endswith(b"\n") for text in texts)


def test_the_parser_alone_gives_what_the_engine_reads(plain_file, hand_package):
    """Called with the types of the engine's columns it gives their very cells, but for texts that are null."""
    text = plain_file.read_bytes().split(b"\n", 1)[1]
    names, _ = look_at(plain_file, 1, 4000)
    [records] = cut_records([text])
    signature = Model.open(hand_package).signature
    batch = CellReader(Header(names, b""), signature, (), Dialect()).read(records).batch
    table = parse(text, names, {column.name: column.type for column in batch.schema})
    assert table.drop("plan").combine_chunks().to_batches() == [batch.drop_columns(["plan"])]
    assert table["plan"].to_pylist() == [cell or "" for cell in batch["plan"].to_pylist()]


@pytest.mark.parametrize(
    ("old", "new", "message"), [(b"\n", b"\r\n", "another text"), (b"true", b"perhaps", "are rejected")]
)
def test_a_file_that_is_not_plain_is_refused(plain_file, hand_package, old, new, message):
    """Where the calls alone do not do what the engine does, there is no number to compare."""
    plain_file.write_bytes(plain_file.read_bytes().replace(old, new))
    with pytest.raises(SystemExit, match=message):
        measure(plain_file, Model.open(hand_package), blocks=1, rounds=1, block_bytes=4000)


def test_import_times_are_those_of_packages():
    """Each module's own microseconds count for its package."""
    log = "import time: self [us] | cumulative | imported package\nimport time:  1500 |  2000 | rich\n"
    log += "import time:   250 |   250 |   rich.console\nimport time:   100 |   100 | typer\n"
    assert import_times(log) == {"rich": 0.00175, "typer": 0.0001}
