"""Build a package from a conversion: nothing is left in place unless it passes the parity gate."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from errors import PackageInvalidError, SampleInvalidError
from model_store.convert.conversion import Conversion
from model_store.fast_graph import keep_if_equal
from model_store.golden import GOLDEN_ROWS, golden_entry
from model_store.mlmodel import mlflow_files
from model_store.model import Model, OpenGraph
from model_store.packages import FAST_GRAPH, GRAPH, MANIFEST, FileEntry, PackageInfo, with_categories
from model_store.parity import TOLERANCE, pass_gate
from model_store.training import summarise

EXAMPLE_ROWS = 5
"""Rows of input_example.json."""


def build_package(conversion: Conversion, folder: Path, *, tolerance: float = TOLERANCE) -> PackageInfo:
    """Write a model as a package in `folder`; it appears whole or not at all, in place of an older one.

    ParityError if the graph's answers differ from the source's (see model_store.parity); SampleInvalidError if the
    sample has no rows; PackageInvalidError if the graph cannot be served, or `folder` holds something else.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise PackageInvalidError(f"{folder} is there and is no package: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}-{uuid4().hex}"
    building.mkdir()
    try:
        _write(conversion, building, tolerance)
        model = Model.open(building)  # exactly as a serving process will
        _move(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)  # gone already if all went well
    return model.metadata


def _write(conversion: Conversion, folder: Path, tolerance: float) -> None:
    """Write all files of the package; ParityError before the manifest is there."""
    if not len(conversion.sample):
        raise SampleInvalidError("the sample has no rows: give rows the model was trained on")
    from model_store.convert.codes import encode_strings  # noqa: PLC0415  # imports onnx: only when used

    coded = encode_strings(conversion.graph, conversion.signature, conversion.null_text)
    signature = with_categories(conversion.signature, coded.categories if coded else {})
    graph = folder / GRAPH
    graph.write_bytes(conversion.graph)
    portable = OpenGraph(graph, signature, conversion.null_text)
    signature, trials, parity = pass_gate(conversion, signature, portable.predict, tolerance=tolerance)
    if coded:
        fast = keep_if_equal(coded, folder / FAST_GRAPH, portable, signature, trials.rows)
        parity = replace(parity, fast=fast)
    graphs = [name for name in (GRAPH, FAST_GRAPH) if (folder / name).exists()]
    golden = trials.evenly(GOLDEN_ROWS)
    created = datetime.now(UTC)
    info = PackageInfo(
        signature=signature,
        labels=conversion.labels,
        null_text=conversion.null_text,
        framework=conversion.framework,
        versions=conversion.versions,
        created=created.isoformat(),
        parity=parity,
        golden=golden_entry(trials.rows.take(golden), trials.answers.take(golden)),
        training=summarise(conversion.sample),
        files={name: FileEntry.of(folder / name) for name in graphs},
    )
    example = conversion.sample.slice(0, EXAMPLE_ROWS)
    files = mlflow_files(
        signature, example, versions=conversion.versions, created=created, digest=info.digest, graph=GRAPH
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    entries = {name: FileEntry.of(folder / name) for name in (*graphs, *files)}
    (folder / MANIFEST).write_bytes(replace(info, files=entries).to_manifest())


def _move(building: Path, folder: Path) -> None:
    """Put the finished package in place of whatever package is there."""
    if (folder / MANIFEST).is_file():
        old = building.with_name(f"{building.name}-old")
        folder.rename(old)
        building.rename(folder)
        shutil.rmtree(old)
    else:
        building.rename(folder)
