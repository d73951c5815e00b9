"""What a model is and where it lives: signature, package, registry, loaded model, converters."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_store.reference import ModelReference
from model_store.signature import Column, ColumnType, Override, Signature

if TYPE_CHECKING:
    import pandas as pd  # noqa: TID251  # for its type alone

    from model_store.packages import PackageInfo

__all__ = ["Column", "ColumnType", "ModelReference", "Override", "Signature", "package"]


def package(
    estimator: object,
    sample: "pd.DataFrame",
    folder: str | Path,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
) -> "PackageInfo":
    """Write a fitted estimator as a package in `folder`, ready for `python -m model_store add NAME FOLDER`.

    `sample` is rows as the estimator was trained on, without the label: at best all of them. `overrides` say of
    input columns, by name, what should not be inferred from it. EstimatorInvalidError or SampleInvalidError if they
    cannot be converted, ParityError if the result would answer differently.
    """
    from model_store.convert import convert  # noqa: PLC0415  # heavy: a process that serves never packages
    from model_store.packaging import build_package  # noqa: PLC0415  # heavy

    return build_package(convert(estimator, sample, overrides=overrides), Path(folder))
