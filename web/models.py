"""Which model a request means, and what answers for it."""

import time
from collections.abc import Callable
from functools import lru_cache

from errors import MessageInvalidError, ModelNotFoundError
from model_store import ModelReference
from model_store.cache import Served
from model_store.registry import Registry
from scoring.services import Services
from settings import Settings

_parsed = lru_cache(maxsize=1024)(ModelReference.parse)


class Models:
    """The registered models, as requests ask for them; safe for any number of threads."""

    def __init__(self, services: Callable[[], Services], settings: Settings) -> None:
        self.services = services
        self._settings = settings
        self._names: tuple[list[str], float] = ([], 0.0)

    def current(self, reference: str) -> Served:
        """Return what answers for a reference now; errors as ModelCache.current and ModelReference.parse."""
        return self.services().models.current(_parsed(reference))

    def meant(self, asked: str | None) -> Served:
        """Return what answers where the path names no model: what is asked for, or set, or the only one there is.

        ModelNotFoundError if there is none at all, MessageInvalidError if there are several.
        """
        if reference := asked or self._settings.model:
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
