"""The registry of models: add a trained one, see, compare and check what is there, move aliases."""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from errors import SampleInvalidError
from model_store.commands.carrying import export, import_archive
from model_store.commands.checking import verify
from model_store.commands.comparing import diff_versions
from model_store.commands.removing import delete, unalias
from model_store.commands.terminal import Name, Reference, console, open_registry
from model_store.convert.loading import is_model_folder
from model_store.convert.mlflow_folder import is_mlflow_folder, read_example
from model_store.convert.options import Meaning, ModelOptions, read_labels
from model_store.packages import FAST_EQUAL, PackageInfo
from model_store.reference import DEFAULT_ALIAS, check_alias, check_name
from model_store.registry import ModelVersion, Registry
from model_store.signature import Column, ColumnType, Override
from storage.command_line import Store, errors_as_text

THREE_COMMANDS = """From a fitted pipeline to a served model, three commands:

1. python train.py: your own script, ending with joblib.dump(pipeline, "churn.joblib").

2. python -m model_store add churn churn.joblib --sample training.csv --label-column churned --trust-pickle

3. python -m scoring score new.csv --model churn (or start the app and drop the file).

Later versions: `add` again, `diff churn churn@2 new.csv`, then `alias churn champion 2`."""

TEXTS_SHOWN = 5
"""Texts that `show` lists of a column that takes no others."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=__doc__,
    epilog=THREE_COMMANDS,
)


@app.command()
def add(
    name: Name,
    estimator: Annotated[
        Path,
        typer.Argument(exists=True, help="A trained model's file, the folder of MLflow's, or a package's folder."),
    ],
    sample: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Rows it was trained on, at best all: .parquet, or .csv as pandas reads it unasked.",
        ),
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="A column of the sample to leave out.")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load .joblib and .pkl files, which can run any code.")
    ] = False,
    trust_type: Annotated[
        list[str] | None, typer.Option(help="A type to trust in a .skops file; may be repeated.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="What not to infer of an input column, such as age:double,optional; may be repeated."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label, in the order of a network's outputs, which do not name them; may be repeated."),
    ] = None,
    meaning: Annotated[
        Meaning, typer.Option(help="What the numbers are that a network gives for its labels.")
    ] = Meaning.PROBABILITIES,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the version.")] = None,
    no_alias: Annotated[
        bool, typer.Option("--no-alias", help="Do not make a name's first version its champion.")
    ] = False,
    store: Store = None,
) -> None:
    """Convert ESTIMATOR, check that it still answers as it did, and register it as the next version of NAME.

    Files: .joblib, .pkl, .skops (scikit-learn), .txt, .lgb (LightGBM), .json, .ubj (XGBoost), .onnx, .pt, .pt2
    (PyTorch), .keras. Folders: MLflow's, SavedModel, or a package.
    """
    with errors_as_text():
        check_name(name)
        if alias is not None:
            check_alias(alias)
        registry = open_registry(store)
        before = registry.versions(name)
        with TemporaryDirectory() as temporary:
            folder = estimator
            if not estimator.is_dir() or is_model_folder(estimator):
                folder = Path(temporary) / name
                trust = {"trust_pickle": trust_pickle, "trust_types": trust_type or ()}
                overrides = dict(Override.parse(text) for text in column or ())
                options = ModelOptions(read_labels(label or ()), meaning)
                build(estimator, folder, sample, label_column, trust, overrides, options)
            version = registry.add(name, folder)
        if not (before or no_alias or registry.aliases(name)):
            registry.set_alias(name, DEFAULT_ALIAS, version.version)
        if alias is not None:
            registry.set_alias(name, alias, version.version)
        registered = "was registered already: nothing new" if version in before else "registered"
        console.print(f"{version} {registered} ({describe_parity(registry.describe(version))})", soft_wrap=True)
        if alias not in (None, DEFAULT_ALIAS):
            console.print(f"{name}@{alias} -> {version.version}", soft_wrap=True)
        tell_champion(registry, version)


@app.command("list")
def list_models(store: Store = None) -> None:
    """List the registered models."""
    with errors_as_text():
        registry = open_registry(store)
        table = Table("model", "versions", "aliases")
        for name in registry.names():
            table.add_row(
                name, ", ".join(str(number) for number in registry.numbers(name)), aliases(registry, name)
            )
        console.print(table if table.row_count else "no models yet: see `python -m model_store add --help`")


@app.command()
def show(reference: Reference, store: Store = None) -> None:
    """Show a model's signature, how it was checked, and its name's versions and aliases."""
    with errors_as_text():
        registry = open_registry(store)
        version = registry.resolve(reference)
        info = registry.describe(version)
        facts = Table.grid(padding=(0, 2))
        for fact, value in (
            ("model", str(version)),
            ("digest", info.digest),
            ("created", info.created),
            ("from", ", ".join(f"{library} {number}" for library, number in info.versions.items())),
            ("labels", describe_labels(info)),
            ("parity", describe_parity(info)),
            ("not compared", ", ".join(info.parity.refused) or "nothing: the source answered every row"),
            ("fast graph", describe_fast_graph(info)),
            ("size", f"{info.size:,} bytes"),
            ("versions", ", ".join(str(number) for number in registry.numbers(version.name))),
            ("aliases", aliases(registry, version.name) or "none"),
        ):
            facts.add_row(fact, escape(value))
        console.print(facts)
        columns = Table("", "column", "type", "nulls", "takes")
        for column in info.signature.inputs:
            nulls = "allowed" if column.nullable else "no"
            takes = escape(describe_cells(column))
            columns.add_row("in", escape(column.name), column.type.value, nulls, takes)
        for column in info.signature.outputs:
            columns.add_row("out", escape(column.name), column.type.value, "", "")
        console.print(columns)


@app.command("alias")
def move_alias(
    name: Name,
    alias: Annotated[str, typer.Argument(help="Such as champion or challenger.")],
    version: Annotated[int, typer.Argument(min=1)],
    store: Store = None,
) -> None:
    """Point ALIAS of NAME at VERSION; running apps see it within a minute."""
    with errors_as_text():
        registry = open_registry(store)
        before = registry.aliases(name).get(alias)
        registry.set_alias(name, alias, version)
        moved = "" if before in (None, version) else f" (it was {before})"
        console.print(f"{name}@{alias} -> {version}{moved}", soft_wrap=True)


app.command()(unalias)
app.command("diff")(diff_versions)
app.command()(verify)
app.command()(export)
app.command("import")(import_archive)
app.command()(delete)


def build(
    estimator: Path,
    folder: Path,
    sample: Path | None,
    label_column: str | None,
    trust: Mapping[str, Any],
    overrides: Mapping[str, Override],
    options: ModelOptions,
) -> PackageInfo:
    """Package the model in a file or folder; `trust` is what `load_estimator` takes."""
    from model_store import package  # noqa: PLC0415  # with what follows, seconds of imports that only `add` needs
    from model_store.convert import load_estimator  # noqa: PLC0415

    rows = read_sample(sample, label_column) if sample is not None else None
    if rows is None and is_mlflow_folder(estimator):
        rows = read_example(estimator)
    if rows is None:
        raise SampleInvalidError("give --sample FILE: rows the model was trained on (.csv or .parquet)")
    return package(load_estimator(estimator, **trust), rows, folder, overrides=overrides, options=options)


def read_sample(path: Path, label_column: str | None) -> Any:
    """Return a sample's rows as a DataFrame, read by pandas, as the training data itself most likely was."""
    import pandas as pd  # noqa: PLC0415, TID251  # to hand it to model_store.convert

    try:
        match path.suffix.lower():
            case ".csv":
                header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].dropna()
                if twice := sorted(header[header.duplicated()]):  # pandas would rename the second
                    raise SampleInvalidError(f"{path.name} has the column {twice[0]!r} twice", column=twice[0])
                if len(header) == 1 and any(mark in header.iloc[0] for mark in ";\t|"):
                    raise SampleInvalidError(
                        f"the columns of {path.name} are not divided by commas: write it as DataFrame.to_csv does, "
                        "or as .parquet"
                    )
                rows = pd.read_csv(path)
            case ".parquet":
                rows = pd.read_parquet(path)
            case _:
                raise SampleInvalidError(f"{path.name} is neither .csv nor .parquet")
    except (OSError, ValueError) as error:  # what pandas and Arrow raise for files they cannot read
        raise SampleInvalidError(f"{path.name} cannot be read: {type(error).__name__}") from error
    if label_column is None:
        return rows
    if label_column not in rows.columns:
        raise SampleInvalidError(f"{path.name} has no column {label_column!r} to leave out", column=label_column)
    return rows.drop(columns=label_column)


def describe_labels(info: PackageInfo) -> str:
    """List a classifier's labels, in several lines for several targets."""
    if not info.labels:
        return "none: it predicts numbers"
    targets = [label for label in info.labels if isinstance(label, tuple)] or [info.labels]
    return "\n".join(", ".join(str(label) for label in target) for target in targets)


def describe_parity(info: PackageInfo) -> str:
    """Say in one line how a package's answers compare with its source's."""
    parity = info.parity
    labelled = info.labels or info.signature.outputs[0].type is not ColumnType.DOUBLE  # a cluster's number is one
    flips = f"{parity.label_flips} label flips, " if labelled else ""
    given = "" if parity.given is None else f" ({parity.given:,} of the sample)"
    return f"checked on {parity.rows:,} rows{given}: {flips}largest difference {parity.max_abs_difference:.2g}"


def describe_fast_graph(info: PackageInfo) -> str:
    """Say whether a model is served with codes instead of texts, and if not, why."""
    if info.parity.fast is None:
        return "none: the model reads no texts that codes could stand for"
    if info.parity.fast == FAST_EQUAL:
        return "served: it gives the very answers of the portable graph"
    return f"left out: {info.parity.fast}"


def describe_cells(column: Column) -> str:
    """Say which cells of an input column are scored; rows with others are rejected."""
    if column.allowed is not None:
        more = len(column.allowed) - TEXTS_SHOWN
        shown = ", ".join(repr(text) for text in column.allowed[:TEXTS_SHOWN])
        return f"only {shown}" + (f" and {more:,} more" if more > 0 else "")
    if column.limit is None:
        return "any"
    if column.limit == sys.float_info.max:
        return "any finite number"
    return f"-{column.limit:.3g} to {column.limit:.3g}"


def tell_champion(registry: Registry, version: ModelVersion) -> None:
    """Say whether the version is what the bare name means, and how to make it so."""
    current = registry.aliases(version.name).get(DEFAULT_ALIAS)
    if current == version.version:
        console.print(f"{version.name}@{DEFAULT_ALIAS} -> {current}", soft_wrap=True)
    elif current is None:
        console.print(f"{version.name} has no {DEFAULT_ALIAS}: its newest version is used", soft_wrap=True)
    else:
        console.print(
            f"{version.name}@{DEFAULT_ALIAS} -> {current}, as before; to move it: "
            f"python -m model_store alias {version.name} {DEFAULT_ALIAS} {version.version}",
            soft_wrap=True,
        )


def aliases(registry: Registry, name: str) -> str:
    """Return a name's aliases in one line."""
    return ", ".join(f"{alias} -> {number}" for alias, number in sorted(registry.aliases(name).items()))


if __name__ == "__main__":
    app(prog_name="python -m model_store")
