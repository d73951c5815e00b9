"""The aliases of a name, in one small blob that is changed with If-Match only.

    models/churn/aliases.json       {"challenger": 2, "champion": 1}

While a version is being deleted the blob also says so, `"deleting 3": 3`: a blank can be in no alias. Whoever
points an alias somewhere reads the blob, looks whether the version is there, and writes with the ETag it read;
whoever deletes writes its mark before it takes the version away. So one of the two always finds its ETag outdated,
looks again, and sees what the other did: no alias ever points at a version that is gone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from errors import BlobNotFoundError, ConditionFailedError, PackageInvalidError, RegistryConflictError
from storage import ANY_ETAG, BlobPath, BlobStore

ALIASES = "aliases.json"

_TRIES = 10
_MARK = "deleting "


@dataclass(frozen=True, slots=True)
class AliasTable:
    """What one version of the blob says."""

    etag: str | None
    """None before there is a blob."""
    versions: Mapping[str, int]
    """The version each alias points at."""
    deleting: frozenset[int] = frozenset()
    """Versions somebody has begun to delete."""

    def of(self, version: int) -> list[str]:
        """Return the aliases that point at a version, sorted."""
        return sorted(alias for alias, number in self.versions.items() if number == version)

    def to_json(self) -> bytes:
        """Return the table as its blob holds it."""
        marks = {f"{_MARK}{number}": number for number in self.deleting}
        return json.dumps({**self.versions, **marks}, indent=2, sort_keys=True).encode()


Change = Callable[[AliasTable], AliasTable]
"""Returns the table as it should be, the same one where nothing is to be done; may raise to give up."""


class Aliases:
    """The aliases of all names in one container. Every method may raise what a BlobStore does."""

    def __init__(self, blobs: BlobStore, container: str) -> None:
        self._blobs = blobs
        self._container = container

    def read(self, name: str, known: AliasTable | None = None) -> AliasTable:
        """Return the aliases of `name` as they are now, in one request; `known` itself if they are still those.

        PackageInvalidError if the blob cannot be read.
        """
        try:
            polled = self._blobs.poll(self._path(name), known.etag if known else None)
        except BlobNotFoundError:
            return AliasTable(None, {})
        if polled is None and known is not None:
            return known
        etag, data = polled or ("", b"")
        try:
            entries = {str(alias): int(number) for alias, number in json.loads(data).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise PackageInvalidError(f"{name}/{ALIASES} cannot be read: {error}") from error
        return AliasTable(
            etag,
            {alias: number for alias, number in entries.items() if not alias.startswith(_MARK)},
            frozenset(number for alias, number in entries.items() if alias.startswith(_MARK)),
        )

    def change(self, name: str, change: Change) -> None:
        """Read the aliases of `name`, and write what `change` makes of them; both again if somebody was faster.

        RegistryConflictError if others are faster every time.
        """
        for _ in range(_TRIES):
            table = self.read(name)
            changed = change(table)
            if changed == table:
                return
            try:
                self._blobs.write(
                    self._path(name),
                    changed.to_json(),
                    if_match=table.etag,
                    if_none_match=ANY_ETAG if table.etag is None else None,
                    content_type="application/json",
                )
            except ConditionFailedError:
                continue
            return
        raise RegistryConflictError(f"others keep changing the aliases of {name}: try again")

    def _path(self, name: str) -> BlobPath:
        return BlobPath(self._container, f"{name}/{ALIASES}")
