"""Which model a request means, and what answers for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

from errors import MessageInvalidError, ModelNotFoundError, ReferenceInvalidError
from model_store import ModelReference
from model_store.cache import Served
from model_store.registry import Registry
from observing import RequestScored, is_anybody_listening, tell
from scoring.rows import Answers
from scoring.services import Services
from settings import Settings

Find = Callable[[], AbstractContextManager[Served]]
"""Finds the model that a request asks for, and with it one of the process's turns to score, held for the block."""

_parsed = lru_cache(maxsize=1024)(ModelReference.parse)


def told(served: Served, answers: Answers) -> Answers:
    """Tell that rows of a request were scored, and return what became of them."""
    if is_anybody_listening():
        rejected = len(answers.faults)
        version = served.version
        tell(RequestScored(version.name, version.version, answers.count - rejected, rejected))
    return answers


class Models:
    """The registered models, as requests ask for them; safe for any number of threads."""

    def __init__(self, services: Callable[[], Services], settings: Settings) -> None:
        self.services = services
        self._settings = settings
        self._names: tuple[list[str], float] = ([], 0.0)
        self._open: Services | None = None

    def current(self, reference: str) -> Served:
        """Return what answers for a reference now; errors as ModelCache.current and ModelReference.parse."""
        self._open = self.services()
        return self._open.models.current(_parsed(reference))

    @contextmanager
    def seat(self, asked: str | None) -> Iterator[Served]:
        """Find what answers for `asked`, as `current` and `meant` do, and hold a turn to score with it."""
        served = self.meant() if asked is None else self.current(asked)
        with self.services().engine.requests:
            yield served

    @contextmanager
    def seat_at_once(self, asked: str | None) -> Iterator[Served | None]:
        """Do the same for the event loop: without waiting for anything; None where that cannot be."""
        services, served = self._open, self._at_hand(asked)
        if services is None or served is None or not services.engine.requests.acquire(blocking=False):
            yield None
            return
        try:
            yield served
        finally:
            services.engine.requests.release()

    def _at_hand(self, asked: str | None) -> Served | None:
        names, until = self._names
        only = names[0] if len(names) == 1 and time.monotonic() < until else None
        reference = (self._settings.model or only) if asked is None else asked
        try:
            return self._open.models.at_hand(_parsed(reference)) if self._open and reference is not None else None
        except ReferenceInvalidError:
            return None  # `current` says so, once the body has been read

    def meant(self) -> Served:
        """Return what answers where a request names no model: what is set, or the only one there is.

        ModelNotFoundError if there is none at all, MessageInvalidError if there are several.
        """
        if reference := self._settings.model:
            return self.current(reference)
        names = self._registered()
        if not names:
            raise ModelNotFoundError("no model is registered: add one with `python -m model_store add`")
        if len(names) > 1:
            raise MessageInvalidError(
                f"which model is meant? Say one of {', '.join(names)}: ?model=<name> behind the path, or the "
                "setting DROPSCORE_MODEL"
            )
        return self.current(names[0])

    def registry(self) -> Registry:
        """Return the registry itself, which remembers nothing."""
        return Registry(self.services().blobs, self._settings.models)

    def versions(self, name: str) -> list[int]:
        """Return the numbers of a model's versions, oldest first."""
        return self.registry().numbers(name)

    def _registered(self) -> list[str]:
        names, until = self._names
        if time.monotonic() >= until:
            names = self.registry().names()
            self._names = (names, time.monotonic() + self._settings.alias_seconds)
        return names
