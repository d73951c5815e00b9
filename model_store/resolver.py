"""What references mean, asked of the registry now and then instead of for every row."""

import logging
import threading
import time
from dataclasses import dataclass, replace

from errors import DropscoreError, ModelNotFoundError, PackageInvalidError
from model_store.aliases import AliasTable
from model_store.reference import DEFAULT_ALIAS, ModelReference
from model_store.registry import ModelVersion, Registry

log = logging.getLogger(__name__)

_LOCKS = 16


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means, and how long that may be believed."""

    version: ModelVersion
    until: float
    """By the monotonic clock."""


class Resolver:
    """What one process knows of references; safe for any number of threads.

    The aliases of a name are asked for once in `alias_seconds`, by a conditional GET, whoever wants them; while the
    registry cannot answer, what was known before holds.
    """

    def __init__(self, registry: Registry, alias_seconds: float) -> None:
        self._registry = registry
        self._alias_seconds = alias_seconds
        self._resolved: dict[ModelReference, Resolved] = {}
        self._tables: dict[str, tuple[AliasTable, float]] = {}
        self._locks = [threading.RLock() for _ in range(_LOCKS)]

    def find(self, wanted: ModelReference) -> Resolved:
        """Return what a reference means; versions never change, so a fixed one is asked for once.

        Errors as Registry.resolve; ModelNotFoundError also if an alias that was there is not any more.
        """
        known = self._resolved.get(wanted)
        if known is not None and time.monotonic() < known.until:
            return known
        with self._locks[hash(wanted.name) % _LOCKS]:  # the others wait for this answer instead of asking too
            known = self._resolved.get(wanted)
            if known is not None and time.monotonic() < known.until:
                return known
            try:
                found = self._ask(wanted)
            except ModelNotFoundError:
                self._resolved.pop(wanted, None)
                raise
            except DropscoreError as error:
                if known is None:
                    raise
                log.warning("what %s means cannot be looked up, so it stays %s: %s", wanted, known.version, error)
                found = replace(known, until=time.monotonic() + self._alias_seconds)
            self._resolved[wanted] = found
        return found

    def known(self, wanted: ModelReference) -> ModelVersion | None:
        """Return what a reference means, if that need not be asked for now; None otherwise."""
        known = self._resolved.get(wanted)
        return known.version if known is not None and time.monotonic() < known.until else None

    def _ask(self, wanted: ModelReference) -> Resolved:
        if wanted.version is not None:
            return Resolved(self._registry.resolve(wanted), float("inf"))
        table, until = self._table(wanted.name)
        number = table.versions.get(wanted.alias or DEFAULT_ALIAS)
        if number is None:  # the newest version, or an error that says what there is instead
            return Resolved(self._registry.resolve(wanted), until)
        try:
            return Resolved(self.find(ModelReference(wanted.name, version=number)).version, until)
        except ModelNotFoundError as error:
            raise PackageInvalidError(f"{wanted} points at a version that is not there: {error.message}") from error

    def _table(self, name: str) -> tuple[AliasTable, float]:
        known, until = self._tables.get(name, (None, 0.0))
        asked = time.monotonic()
        if known is not None and asked < until:
            return known, until
        table = self._registry.alias_table(name, known)
        if table.etag is not None:  # or names that do not exist would be remembered too
            self._tables[name] = table, asked + self._alias_seconds
        return table, asked + self._alias_seconds
