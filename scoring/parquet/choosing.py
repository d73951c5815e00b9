"""Choose rows of batches of any type that Parquet files can have."""

import numpy as np
import pyarrow as pa

from model_store.arrays import from_numpy


def choose(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    """Return the rows of a batch where the boolean array `rows` holds.

    pyarrow cannot choose among views of strings or bytes, nor lists of such; but it can put slices together.
    """
    try:
        return batch.filter(from_numpy(rows))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(rows, prepend=False, append=False))
        slices = [batch.slice(start, end - start) for start, end in edges.reshape(-1, 2).tolist()]
        return pa.concat_batches([batch.slice(0, 0), *slices])
