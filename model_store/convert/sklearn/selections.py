"""Feature selection: some of the columns, as they are."""

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Blocks, select
from model_store.convert.sklearn.step import Step


def support(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert any selector of scikit-learn: texts stay texts, and lookups lookups."""
    return select(graph, blocks, step.model.get_support(indices=True).tolist())
