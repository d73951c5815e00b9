"""What the user says of a model whose framework does not know it: labels, meaning of its numbers, vocabularies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from errors import EstimatorInvalidError


class Meaning(StrEnum):
    """What the numbers are that a classifier gives for its labels."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    """Log odds, of which softmax (or for one number sigmoid) makes probabilities: inside the graph, in double."""
    SCORES = "scores"
    """Any other numbers, of which the largest decides (or for one number its sign)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How a module reads a string column: as the place of each text in a list."""

    texts: tuple[str, ...]
    """A text's place in it is the index that the module is given."""
    unseen: int
    """The index for every text that is not in it."""
    null: int | None = None
    """The index for a null; None where it is that of unseen texts."""

    def __post_init__(self) -> None:
        if len(set(self.texts)) != len(self.texts):
            twice = next(text for text in self.texts if self.texts.count(text) > 1)
            raise EstimatorInvalidError(f"a vocabulary holds {twice!r} twice: each text has one index")

    @property
    def indices(self) -> tuple[int, ...]:
        """The index of each text, then of a null, then of any other text."""
        return (*range(len(self.texts)), self.unseen if self.null is None else self.null, self.unseen)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What cannot be read off a network or a graph; scikit-learn's estimators know all of it themselves."""

    labels: tuple[object, ...] = ()
    """A classifier's labels in the order of its outputs: texts, integers, floats or booleans, all of one type."""
    meaning: Meaning = Meaning.PROBABILITIES
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    """By string column."""

    def __post_init__(self) -> None:
        kinds = {type(label) for label in self.labels}
        if not kinds <= {str, int, float, bool} or len(kinds) > 1:
            raise EstimatorInvalidError("labels are texts, integers, floats or booleans, and all of one type")
        if len(set(self.labels)) != len(self.labels):
            raise EstimatorInvalidError("two labels are the same: give each output a label of its own")
        if len(self.labels) == 1:
            raise EstimatorInvalidError("there is only one label: give one for each class, in the model's order")
        if self.meaning not in set(Meaning):
            raise EstimatorInvalidError(
                f"{self.meaning!r} says nothing of a classifier's numbers: use one of {', '.join(Meaning)}"
            )
        object.__setattr__(self, "meaning", Meaning(self.meaning))  # so that the plain text will do


def read_labels(texts: Sequence[str]) -> tuple[object, ...]:
    """Return labels as a command line gives them: whole numbers and booleans if all are, else texts."""
    if texts and all(text.removeprefix("-").isdecimal() for text in texts):
        return tuple(int(text) for text in texts)
    if texts and all(text in {"false", "true"} for text in texts):
        return tuple(text == "true" for text in texts)
    return tuple(texts)
