"""What a model is and where it lives: signature, package, registry, loaded model, converters."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_store.convert.options import Meaning, ModelOptions, Vocabulary
from model_store.reference import ModelReference
from model_store.signature import Column, ColumnType, Override, Signature

if TYPE_CHECKING:
    import pandas as pd  # noqa: TID251  # for its type alone

    from model_store.packages import PackageInfo

__all__ = [
    "Column",
    "ColumnType",
    "Meaning",
    "ModelOptions",
    "ModelReference",
    "Override",
    "Signature",
    "Vocabulary",
    "package",
]


def package(
    estimator: object,
    sample: "pd.DataFrame",
    folder: str | Path,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
    options: ModelOptions = ModelOptions(),
) -> "PackageInfo":
    """Write a trained model as a package in `folder`, ready for `python -m model_store add NAME FOLDER`.

    `sample` is rows as the model was trained on, without the label: at best all of them. `overrides` say of input
    columns, by name, what should not be inferred from it; `options` what a network does not know of itself, such as
    its labels. EstimatorInvalidError or SampleInvalidError if they cannot be converted, ParityError if the result
    would answer differently.
    """
    from model_store.convert import convert  # noqa: PLC0415  # heavy: a process that serves never packages
    from model_store.packaging import build_package  # noqa: PLC0415  # heavy

    return build_package(convert(estimator, sample, overrides=overrides, options=options), Path(folder))
