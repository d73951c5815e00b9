"""What a model is and where it lives: signature, package, registry, loaded model, converters."""

from model_store.reference import ModelReference
from model_store.signature import Column, ColumnType, Signature

__all__ = ["Column", "ColumnType", "ModelReference", "Signature"]
