"""A loaded model: rows in, answers out. The only room of ONNX Runtime."""

import json
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from errors import ColumnMissingError, ColumnTypeError, PackageInvalidError
from model_store.arrays import from_cells, from_numpy, scalar, to_numpy
from model_store.buffers import Buffers, Tensor
from model_store.golden import GoldenRows
from model_store.packages import FAST_GRAPH, GRAPH, LABELS_KEY, PackageInfo, read_package
from model_store.signature import Column, ColumnType, Signature

CHUNK_ROWS = 4096
"""Rows of one call of ONNX Runtime: measured best, as what it makes in between stays in the processor's cache."""

_ROWS_AT_ONCE = 16
"""Every call has a multiple of so many rows: as many as the widest vectors hold floats. ONNX Runtime computes rows
that fill no vector by other code, whose last digit may differ (measured: in one of 40 batches of an odd number, its
last row's): a row's answer would depend on where a file was cut."""

_TENSORS = {
    ColumnType.BOOLEAN: ("tensor(bool)", np.dtype(np.bool_)),
    ColumnType.INTEGER: ("tensor(int32)", np.dtype(np.int32)),
    ColumnType.LONG: ("tensor(int64)", np.dtype(np.int64)),
    ColumnType.FLOAT: ("tensor(float)", np.dtype(np.float32)),
    ColumnType.DOUBLE: ("tensor(double)", np.dtype(np.float64)),
    ColumnType.STRING: ("tensor(string)", np.dtype(np.object_)),
    ColumnType.DATETIME: ("tensor(int64)", np.dtype(np.int64)),
}
"""What carries each column type: ONNX Runtime's name for it, and numpy's. Datetimes are microseconds since 1970."""

_CODES = "tensor(int32)"
"""What carries a string column in a fast graph: its cells' places among the column's categories or labels."""
_CODE = np.dtype(np.int32)

_Feed = Callable[[pa.Array], npt.NDArray[Any]]


class OpenGraph:
    """A graph that answers for a signature, on as many threads at once as call it; one thread of work each.

    PackageInvalidError if ONNX Runtime cannot open the graph, or it does not take and give the signature's columns.
    """

    def __init__(self, path: Path, signature: Signature, null_text: str) -> None:
        import onnxruntime as ort  # noqa: PLC0415  # cold start: most processes import this module and never score

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # our threads each bring their own block: two levels would only compete
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors: warnings speak of optimisations that nobody here can act on
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class
            why = str(error).replace(str(path), path.name)  # where it lies is nobody's business
            raise PackageInvalidError(f"ONNX Runtime cannot open {path.name}: {why}") from error
        tensors = {tensor.name: tensor for tensor in self._session.get_inputs()}
        coded = {name for name, tensor in tensors.items() if tensor.type == _CODES}
        codes = {
            place: _Codes(column.categories, null_text)
            for place, column in enumerate(signature.inputs)
            if column.categories is not None and column.type is ColumnType.STRING and column.name in coded
        }
        _check_tensors(path.name, "input", signature.inputs, tensors.values(), codes)
        found = self._session.get_outputs()
        coded = {tensor.name for tensor in found if tensor.type == _CODES}
        named = _labels(path.name, self._session.get_modelmeta().custom_metadata_map.get(LABELS_KEY, "{}"))
        labels = {
            place: named[column.name]
            for place, column in enumerate(signature.outputs)
            if column.type is ColumnType.STRING and column.name in coded and column.name in named
        }
        _check_tensors(path.name, "output", signature.outputs, found, labels)
        self.null_text = null_text
        self._inputs = signature.input_schema
        self._outputs = signature.output_schema
        self._no_answers = pa.RecordBatch.from_arrays(
            [pa.nulls(0, kind) for kind in self._outputs.types], schema=self._outputs
        )

        def fill(cells: Sequence[str | None]) -> list[str]:
            return [null_text if cell is None else cell for cell in cells]

        shapes = {name: (-1, 1) if len(tensor.shape) == 2 else (-1,) for name, tensor in tensors.items()}
        self._feeds = [
            (
                column.name,
                _feed(column, null_text, shapes[column.name], codes.get(place)),
                column.type is ColumnType.STRING and place not in codes,
            )
            for place, column in enumerate(signature.inputs)
        ]
        """The function that feeds each input, and whether it is called for each chunk of rows alone."""
        self._cell_readers = [
            codes[place].places if place in codes else fill if column.type is ColumnType.STRING else None
            for place, column in enumerate(signature.inputs)
        ]
        """What makes of Python's cells those that an input takes; None where they are."""
        self._tensors = [
            Tensor(column.name, _CODE if place in codes else _TENSORS[column.type][1], shapes[column.name])
            for place, column in enumerate(signature.inputs)
        ]
        self._output_names = [column.name for column in signature.outputs]
        self._gives = [
            (column.type.arrow, _TENSORS[column.type][1], labels.get(place))
            for place, column in enumerate(signature.outputs)
        ]
        """Each output's types, and the texts that its numbers stand for."""
        self._texts = {place: dict(enumerate(texts.to_pylist())) for place, texts in labels.items()}
        self._bindable = all(
            place in coded or column.type is not ColumnType.STRING
            for columns, coded in ((signature.inputs, codes), (signature.outputs, labels))
            for place, column in enumerate(columns)
        )
        """Whether all tensors are numbers or booleans: memory for texts cannot be bound."""
        self._free: list[Buffers] = []
        """Of calls that have ended: as many as there ever were at once."""

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the answers, in the output schema, for rows in the input schema; see Model.predict."""
        if not batch.schema.equals(self._inputs):
            _check_batch(batch.schema, self._inputs)
        rows = batch.num_rows
        if rows == 0:
            return self._no_answers
        # Of all rows at once, but for texts: each of those becomes an object, which is let go with its chunk.
        columns = [
            cells if late else feed(cells)
            for (_, feed, late), cells in zip(self._feeds, batch.columns, strict=True)
        ]
        if rows <= CHUNK_ROWS:
            answers = self._answer(columns)
        else:
            chunks = [
                self._answer([cells[start : start + CHUNK_ROWS] for cells in columns])
                for start in range(0, rows, CHUNK_ROWS)
            ]
            answers = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
        given = [
            _to_arrow(values, arrow, dtype, rows) if labels is None else _to_texts(values, labels, rows)
            for values, (arrow, dtype, labels) in zip(answers, self._gives, strict=True)
        ]
        return pa.RecordBatch.from_arrays(given, schema=self._outputs)

    def predict_cells(self, columns: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Return each output's cells for a few rows whose cells are given by column; see Model.predict_cells."""
        rows = len(columns[0])
        fed = [read(cells) if read else cells for read, cells in zip(self._cell_readers, columns, strict=True)]
        given = []
        for place, values in enumerate(self._run_few(fed, rows)):
            texts = self._texts.get(place)
            arrow, dtype, _ = self._gives[place]
            _check_answer(values, _CODE if texts else dtype, rows, arrow)
            cells = values.tolist()
            if texts:
                try:
                    cells = [texts[code] for code in cells]
                except KeyError as error:
                    raise _no_label(len(texts)) from error
            given.append(cells)
        return given

    def _answer(self, columns: list[pa.Array | npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run the graph once, on at least one row."""
        feeds = {
            name: _fill_up(feed(cells) if late else cells)
            for (name, feed, late), cells in zip(self._feeds, columns, strict=True)
        }
        return self._run(feeds, len(columns[0]))

    def _run_few(self, columns: Sequence[Sequence[Any]], rows: int) -> list[npt.NDArray[Any]]:
        """Run the graph once on cells as Python has them: in memory that is bound, where that can be."""
        if rows > _ROWS_AT_ONCE or not self._bindable:
            missing = -rows % _ROWS_AT_ONCE
            feeds = {
                tensor.name: np.array([*cells, *[cells[-1]] * missing], tensor.dtype).reshape(tensor.shape)
                for tensor, cells in zip(self._tensors, columns, strict=True)
            }
            return self._run(feeds, rows)
        try:
            buffers = self._free.pop()
        except IndexError:  # every one of them is in use
            buffers = Buffers(self._session, self._tensors, self._output_names, _ROWS_AT_ONCE)
        answers = _checked(lambda: buffers.run(columns), rows)
        self._free.append(buffers)
        return answers

    def _run(self, feeds: dict[str, npt.NDArray[Any]], rows: int) -> list[npt.NDArray[Any]]:
        """Run the graph once on `rows` rows, which have been filled up, and return what those get."""
        return _checked(lambda: self._session.run(self._output_names, feeds), rows)


class Model:
    """A verified package, loaded once and shared by every thread; it holds no state of any call."""

    def __init__(self, metadata: PackageInfo, graph: OpenGraph) -> None:
        self.metadata = metadata
        self.digest = metadata.digest
        self.signature = metadata.signature
        self._graph = graph

    @classmethod
    def open(cls, folder: Path) -> "Model":
        """Verify the package in `folder` and load it; its golden rows must still get the source model's answers.

        PackageInvalidError for a package that is damaged, unsafe, from a newer Dropscore, or answers differently.
        """
        info = read_package(folder)
        serving = FAST_GRAPH if FAST_GRAPH in info.files else GRAPH
        graph = OpenGraph(folder / serving, info.signature, info.null_text)
        GoldenRows.read(info).check(graph.predict)
        return cls(info, graph)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return one row of answers, in `signature.output_schema`, for each row of `batch`.

        `batch` has the columns of `signature.input_schema`, in order, any number of rows; strings may also be
        dictionaries of strings, which are looked up text by text instead of row by row. ColumnMissingError or
        ColumnTypeError if it has not, or has nulls in a column that takes none. PackageInvalidError if the graph
        itself fails.
        """
        return self._graph.predict(batch)

    def predict_cells(self, columns: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Return each output's cells, as Python has them, for a few rows: the same answers, sooner.

        `columns` has the cells of each input, in order, 1 to CHUNK_ROWS of them: float (NaN for null), int, bool or
        text (None for null), whichever its type is; datetimes are not taken. All must be such as `predict` takes.
        PackageInvalidError if the graph itself fails.
        """
        return self._graph.predict_cells(columns)


class _Codes:
    """The codes of a string column: model_store.convert.codes says what they mean."""

    def __init__(self, categories: tuple[str, ...], null_text: str) -> None:
        texts = [*categories, None, null_text]
        self._texts = from_cells(texts, pa.string())
        self._places = {text: place for place, text in enumerate(texts)}
        self._other = len(texts)
        self._filling = scalar(self._other, pa.int32())
        self._null = np.int32(len(categories))
        # Measured: index_in takes 10 microseconds and 25 nanoseconds for each category before it looks at a row,
        # which a dict takes 100 nanoseconds for.
        self._few = 64 + len(categories) // 4

    def places(self, cells: Sequence[str | None]) -> list[int]:
        """Return the codes of a few cells."""
        known, other = self._places, self._other
        return [known.get(text, other) for text in cells]

    def of(self, cells: pa.Array) -> npt.NDArray[np.int32]:
        """Return the codes of n cells: [n]."""
        if pa.types.is_dictionary(cells.type):  # each distinct text is looked up once
            codes = np.append(self.of(cells.dictionary), self._null)
            null = scalar(len(codes) - 1, pa.int32())
            of_rows: npt.NDArray[np.int32] = codes[to_numpy(pc.fill_null(cells.indices.cast(pa.int32()), null))]
            return of_rows
        if len(cells) < self._few:
            return np.array(self.places(cells.to_pylist()), _CODE)
        return to_numpy(pc.fill_null(pc.index_in(cells, self._texts), self._filling))


def _fill_up(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Add cells to those of n rows until they are a multiple of _ROWS_AT_ONCE: what they give is thrown away."""
    missing = -len(cells) % _ROWS_AT_ONCE
    if not missing:
        return cells
    if cells.dtype == object:  # not the last text again: it may be of many megabytes, and each is copied
        return np.concatenate([cells, np.full((missing, *cells.shape[1:]), "", object)])
    return np.concatenate([cells, cells[-1:].repeat(missing, 0)])


def _feed(column: Column, null_text: str, shape: tuple[int, ...], codes: _Codes | None) -> _Feed:
    """Return the function that turns a column's n cells into the array its tensor takes: [n], or [n, 1]."""
    filling = scalar(null_text, pa.string())

    def numbers(cells: pa.Array) -> npt.NDArray[Any]:
        return to_numpy(cells).reshape(shape)  # nulls, if any, become NaN

    def texts(cells: pa.Array) -> npt.NDArray[Any]:
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        return numbers(pc.fill_null(cells, filling) if cells.null_count else cells)

    def never_null(cells: pa.Array) -> npt.NDArray[Any]:
        if cells.null_count:
            raise ColumnTypeError(
                f"column {column.name!r} has nulls, and the model takes none there", column=column.name
            )
        return numbers(cells)

    def times(cells: pa.Array) -> npt.NDArray[Any]:
        return never_null(cells.view(pa.int64()))

    if codes:
        return lambda cells: codes.of(cells).reshape(shape)
    return {
        ColumnType.DOUBLE: numbers,
        ColumnType.FLOAT: numbers,
        ColumnType.STRING: texts,
        ColumnType.DATETIME: times,
    }.get(column.type, never_null)


def _checked(run: Callable[[], list[npt.NDArray[Any]]], rows: int) -> list[npt.NDArray[Any]]:
    """Run a graph on `rows` rows, which have been filled up, and return what those get."""
    try:
        answers = run()
    except Exception as error:  # ONNX Runtime's errors share no base class, and may quote a cell
        raise PackageInvalidError(f"ONNX Runtime failed on these rows: {type(error).__name__}") from error
    filled = rows + -rows % _ROWS_AT_ONCE  # a graph that gives another number is refused by the caller
    return [values[:rows] if values.shape[:1] == (filled,) else values for values in answers]


def _check_answer(values: npt.NDArray[Any], dtype: np.dtype[Any], rows: int, arrow: pa.DataType) -> None:
    if values.shape != (rows,) or values.dtype != dtype:
        raise PackageInvalidError(f"the graph gave {values.dtype}{list(values.shape)} for {rows} rows of {arrow}")


def _to_arrow(values: npt.NDArray[Any], arrow: pa.DataType, dtype: np.dtype[Any], rows: int) -> pa.Array:
    """Return an output tensor as an Arrow array, without copying numbers."""
    _check_answer(values, dtype, rows, arrow)
    if dtype.kind in "bO":  # Arrow's booleans are bits, its strings one buffer
        return from_numpy(values) if dtype.kind == "b" else from_cells(values.tolist(), arrow)
    return pa.Array.from_buffers(arrow, rows, [None, pa.py_buffer(np.ascontiguousarray(values))])


def _labels(graph: str, text: str) -> dict[str, pa.Array]:
    """Read a graph's metadata: the texts of its outputs that give places of labels."""
    try:
        return {name: from_cells(texts, pa.string()) for name, texts in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:  # pyarrow's errors are such
        raise PackageInvalidError(f"{graph} has labels in its metadata that are none") from error


def _to_texts(values: npt.NDArray[np.int32], labels: pa.Array, rows: int) -> pa.Array:
    """Return the labels whose places an output tensor holds."""
    try:
        return labels.take(_to_arrow(values, pa.int32(), _CODE, rows))
    except IndexError as error:
        raise _no_label(len(labels)) from error


def _no_label(labels: int) -> PackageInvalidError:
    return PackageInvalidError(f"the graph gave a label that is none of its {labels}")


def _check_tensors(
    graph: str, side: str, columns: tuple[Column, ...], tensors: Iterable[Any], coded: Container[int] = ()
) -> None:
    """Raise PackageInvalidError unless the graph has exactly these columns, of these types; `coded` as codes."""
    expected = {
        column.name: _CODES if place in coded else _TENSORS[column.type][0] for place, column in enumerate(columns)
    }
    found = {tensor.name: tensor.type for tensor in tensors}
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise PackageInvalidError(
                f"{side} {name!r} is {found.get(name, 'not there')} in {graph}, and "
                f"{expected.get(name, 'not there')} in the signature"
            )


def _check_batch(schema: pa.Schema, expected: pa.Schema) -> None:
    """Raise unless the columns' names, order and types are right; whether they may be null is seen in the cells."""
    names, types = schema.names, schema.types  # each look at a schema's makes the list anew
    for place, (name, kind) in enumerate(zip(expected.names, expected.types, strict=True)):
        if place >= len(names) or names[place] != name:
            raise ColumnMissingError(
                f"column {name!r} is not number {place + 1} of what was given to the model", column=name
            )
        found = types[place]
        if pa.types.is_dictionary(found) and pa.types.is_string(kind):
            found = found.value_type
        if found != kind:
            raise ColumnTypeError(f"column {name!r} is {types[place]}, and the model takes {kind}", column=name)
    if len(names) > len(expected):
        extra = names[len(expected)]
        raise ColumnTypeError(f"column {extra!r} is none of the model's inputs", column=extra)
