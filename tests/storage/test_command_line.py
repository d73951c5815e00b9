"""Commands that start without what typer imports to read their parameters."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from storage.command_line import PlainCommand, PlainCommands, errors_as_text

Given = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]

CASES = [
    "{file}",
    "{file} --number 0.5 --text x --folder {folder} --place {folder}/new --on",
    "{file} --number -1 --text= --place= --many 1 --many 2 --least 3",
    "{file} --number 1_0.5e1",
    "{file} --number inf --off",
    "{file} --number x",
    "{file} --least 1",
    "{file} --folder {file}",
    "{file} --folder {folder}/missing",
    "{file} --text",
    "{file} --nothing 1",
    "{folder}",
    "{folder}/missing",
    "",
    "--help",
]


def _run(case: str, folder: Path, *, plain: bool) -> tuple[int, str, str]:
    file = folder / "a.csv"
    file.write_bytes(b"x")
    app = typer.Typer(cls=PlainCommands if plain else None)
    given = {"cls": PlainCommand} if plain else {}

    @app.command(**given)
    def read(  # noqa: PLR0917  # options, which typer reads from the parameters
        file: Given,
        number: float = 10,
        least: Annotated[float, typer.Option(min=2)] = 2,
        text: str = "a",
        place: Path | None = None,
        folder: Annotated[Path | None, typer.Option(exists=True, file_okay=False)] = None,
        many: list[float] | None = None,
        on: Annotated[bool, typer.Option("--on/--off")] = False,
    ) -> None:
        """Show what was read."""
        typer.echo(repr((file, number, least, text, place, folder, many, on)))

    @app.command(**given)
    def other() -> None:
        """Be there, so that there is a choice."""

    words = [word.format(file=file, folder=folder) for word in case.split()]
    done = CliRunner().invoke(app, ["read", *words])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("case", CASES)
def test_parameters_are_read_as_by_typer(case: str, tmp_path: Path) -> None:
    """Values, what is shown and exit codes are typer's own, of what is right and of what is wrong."""
    assert _run(case, tmp_path, plain=True) == _run(case, tmp_path, plain=False)


def test_what_is_right_is_accepted(tmp_path: Path) -> None:
    """Texts, numbers, paths and switches arrive as what they were declared to be."""
    code, shown, _ = _run(CASES[1], tmp_path, plain=True)
    file, new = tmp_path / "a.csv", tmp_path / "new"
    assert (code, shown.strip()) == (0, repr((file, 0.5, 2.0, "x", new, tmp_path, None, True)))


def test_a_file_that_the_system_refuses_is_one_line(tmp_path: Path, capsys) -> None:
    """A store that is a file, or a folder nobody may write to, is named without a traceback; code 1."""
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit) as ended, errors_as_text():
        (tmp_path / "file" / "incoming").mkdir()
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == f"{tmp_path / 'file' / 'incoming'}: Not a directory\n"


def test_what_is_no_files_fault_is_not_hidden() -> None:
    """A pipe whose reader has gone is for typer, which ends in silence; a bug keeps its traceback."""
    for error in (BrokenPipeError(32, "Broken pipe"), ZeroDivisionError()):
        with pytest.raises(type(error)), errors_as_text():
            raise error
