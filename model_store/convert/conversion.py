"""What a converter gives back: the graph, its signature, and the source model to compare it with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from model_store.signature import Signature

NULL_TEXT = "\uffffnull\uffff"
"""What a null cell of a string column is fed as. U+FFFF is a Unicode noncharacter, never to be interchanged, so no
file of data has it; unlike a lone surrogate it has a UTF-8 form, so ONNX and JSON carry it."""


@dataclass(frozen=True)
class Conversion:
    """A trained model as an ONNX graph, beside the source model it must agree with."""

    graph: bytes
    """A serialised ONNX ModelProto, always the same bytes for the same estimator.

    It has one [N] input per column of `signature.inputs` ([N, 1] if there is only one) and one [N] output for each
    of `signature.outputs`, of those names. A null of a double column is fed as NaN, of a string column as
    `null_text`; columns of other types take no null.
    """
    signature: Signature
    null_text: str
    labels: tuple[object, ...]
    """A classifier's classes in the order of its probabilities, as plain Python values; an outlier detector's -1
    and 1; () for regressors and clusterers. With several targets, a tuple of them for each."""
    framework: str
    """The source framework's distribution name, such as "scikit-learn"."""
    versions: Mapping[str, str]
    """The versions of the framework and of what took part in the conversion, by distribution name."""
    sample: pa.Table
    """The training sample in `signature.input_schema`."""
    predict: Callable[[pa.Table], pa.Table]
    """The source model's own answers, in `signature.output_schema`, for rows in `signature.input_schema`."""
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By numeric input column: values on both sides of which the source may answer differently, such as those where
    a tree's comparison turns. The parity gate tries them."""
    stock_steps: tuple[str, ...] = ()
    """The steps that went through skl2onnx instead of our exact builders, as "name (Class)"."""


@dataclass(frozen=True)
class CodedGraph:
    """A graph that takes codes for some string columns, and what they mean.

    Code `i` of such a column is text `i` of its categories; the next is null, the next the null text where a cell
    holds it as a text, and the next any other text.
    """

    graph: bytes
    categories: Mapping[str, tuple[str, ...]]
    """By input column: every text that the graph tells apart, sorted."""
