"""Models at hand: resolved references for a while, packages on this machine's disk, a few of them open."""

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

from errors import DropscoreError, ModelNotFoundError, PackageInvalidError
from model_store.disk_cache import DiskCache
from model_store.model import Model
from model_store.reference import ModelReference
from model_store.registry import ModelVersion, Registry
from model_store.resolver import Resolver
from observing import ModelOpened, tell

log = logging.getLogger(__name__)

MODELS_OPEN = 8
"""Models kept open; beyond it the one used longest ago is let go (whoever still holds it may go on using it)."""

PATIENCE = 2.0
"""Seconds a request waits for news of a reference that nobody has used for a while, before the old answers it."""

_LONGEST_PAUSE = 300.0
"""Seconds between tries to open a damaged version, at most."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a version that a reference means does not serve."""

    version: ModelVersion
    error: Exception
    tries: int
    until: float
    """When the next try is due, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Served:
    """What answers for a reference: one version, and its open model."""

    version: ModelVersion
    model: Model
    refused: Refusal | None = None
    """Of a newer version, which is why this one goes on serving."""


@dataclass(slots=True)
class _Post:
    """Who serves a reference, and whether somebody is looking for a successor. Changed under the cache's lock."""

    served: Served
    until: float
    """When to look again, by the monotonic clock."""
    looking: Future[None] | None = None
    began: float = 0.0


class ModelCache:
    """What one process needs of the registry, asked for once; safe for any number of threads.

    Runs of files take `resolve` and `load`: they work with exactly the version a reference means when they begin,
    or not at all, since it is a part of their identity. Requests take `current`: it goes on with the version before
    until the one a moved alias means is open.

    `folder` holds packages by digest, up to `max_bytes`, for all processes of one machine; see DiskCache.
    """

    def __init__(
        self, registry: Registry, folder: Path, alias_seconds: float, max_bytes: int = 2 * 1024**3
    ) -> None:
        self._alias_seconds = alias_seconds
        self._resolver = Resolver(registry, alias_seconds)
        self._disk = DiskCache(registry, folder, max_bytes)
        self._lock = threading.Lock()
        self._models: OrderedDict[str, Future[Model]] = OrderedDict()
        self._posts: OrderedDict[ModelReference, _Post] = OrderedDict()
        self._refused: dict[ModelVersion, Refusal] = {}

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        """Return the version a reference means; an alias may be up to `alias_seconds` old.

        Errors as Registry.resolve, but while the registry cannot answer, what it answered before still holds.
        """
        return self._resolver.find(_parsed(reference)).version

    def load(self, version: ModelVersion) -> Model:
        """Return the open model of a version, loading it at most once however many threads ask.

        Errors as Registry.fetch and Model.open; a failed load is tried again by the next call.
        """
        with self._lock:
            loading = self._models.get(version.digest)
            if loading is not None:
                self._models.move_to_end(version.digest)
            else:
                mine = self._models[version.digest] = Future()
                self._drop_oldest()
        if loading is not None:
            return loading.result()
        began = time.monotonic()
        try:
            model = self._disk.open(version)
        except BaseException as error:
            with self._lock:
                self._models.pop(version.digest, None)
            mine.set_exception(error)
            why = error.code if isinstance(error, DropscoreError) else type(error).__name__
            tell(ModelOpened(version.name, version.version, time.monotonic() - began, why))
            raise
        mine.set_result(model)
        tell(ModelOpened(version.name, version.version, time.monotonic() - began))
        try:
            self._disk.trim(keep=self._held())
        except OSError:  # the model is there all the same; the next load tries again
            log.warning("the disk cache could not be trimmed", exc_info=True)
        return model

    def current(self, reference: ModelReference | str) -> Served:
        """Return what answers for a reference now, without waiting for a version that is still to be opened.

        A moved alias is looked for every `alias_seconds` by one background thread, which also opens the new
        version; until its golden rows are right, and if they are not, the old one serves. Only a reference that
        nobody has used for a while makes its caller wait for news, at most PATIENCE. Where nothing serves yet,
        errors are as those of `resolve` and `load`.
        """
        wanted = _parsed(reference)
        if wanted.version is not None:
            version = self.resolve(wanted)
            return Served(version, self.load(version))
        now = time.monotonic()
        with self._lock:
            post = self._posts.get(wanted)
            if post is not None:
                self._posts.move_to_end(wanted)
                if now < post.until:
                    return post.served
                looking, began = self._look(wanted, post, now)
                long_unused = now >= post.until + self._alias_seconds
        if post is None:
            return self._take_up(wanted)
        if long_unused:
            wait_for([looking], max(0.0, began + PATIENCE - now))
            if self._posts.get(wanted) is not post:  # its alias is gone
                return self._take_up(wanted)
        return post.served

    def at_hand(self, reference: ModelReference | str) -> Served | None:
        """Return what `current` would, if that takes no waiting whatsoever; None otherwise."""
        wanted = _parsed(reference)
        version = self._resolver.known(wanted) if wanted.version is not None else None
        with self._lock:
            if wanted.version is None:
                post = self._posts.get(wanted)
                if post is None or time.monotonic() >= post.until:
                    return None
                self._posts.move_to_end(wanted)
                return post.served
            loading = self._models.get(version.digest) if version is not None else None
            if version is None or loading is None or not loading.done() or loading.exception() is not None:
                return None
            self._models.move_to_end(version.digest)
        return Served(version, loading.result())

    def _take_up(self, wanted: ModelReference) -> Served:
        """Serve a reference that nothing serves yet."""
        found = self._resolver.find(wanted)
        opened = self._open(found.version)
        if isinstance(opened, Refusal):
            raise opened.error
        served = Served(found.version, opened)
        with self._lock:
            known = self._posts.get(wanted)
            if known is not None and known.until > found.until:  # another thread was later, and so knows better
                return known.served
            self._posts[wanted] = _Post(served, found.until)
            if len(self._posts) > MODELS_OPEN:
                self._posts.popitem(last=False)
        return served

    def _look(self, wanted: ModelReference, post: _Post, now: float) -> tuple[Future[None], float]:
        """Return the search for a post's successor, begun now if there is none, and when it began.

        The caller holds the lock.
        """
        if post.looking is None:
            post.looking, post.began = Future(), now
            # in a copy of the caller's context: the host ties logs to an invocation by a context variable
            search = copy_context().run
            threading.Thread(
                target=search, args=(self._succeed, wanted, post), name="model-successor", daemon=True
            ).start()
        return post.looking, post.began

    def _succeed(self, wanted: ModelReference, post: _Post) -> None:
        """Put the version that a reference means now on its post, if it can be opened. Raises nothing."""
        served, until = post.served, time.monotonic() + self._alias_seconds
        gone = False
        try:
            found = self._resolver.find(wanted)
            until = found.until
            served = self._successor(found.version, served)
        except ModelNotFoundError as error:
            gone = True
            log.warning("%s is served no more: %s", wanted, error)
        except Exception:  # whatever it was, the old model goes on serving and the next search is due
            log.exception("what %s means could not be looked up: %s goes on serving", wanted, served.version)
        with self._lock:
            looking = post.looking
            post.served, post.until, post.looking = served, until, None
            if gone and self._posts.get(wanted) is post:
                del self._posts[wanted]
        if looking is not None:
            looking.set_result(None)

    def _successor(self, version: ModelVersion, served: Served) -> Served:
        """Return what serves next: `version` if it opens, otherwise what serves now, with the reason."""
        if version == served.version:
            return replace(served, refused=None)
        opened = self._open(version)
        if isinstance(opened, Refusal):
            log.warning("%s goes on serving, as %s cannot be opened", served.version, version)
            return replace(served, refused=opened)
        log.info("%s takes over from %s", version, served.version)
        return Served(version, opened)

    def _open(self, version: ModelVersion) -> Model | Refusal:
        """Return the open model of a version, or why there is none; a damaged one is tried ever less often."""
        refused, now = self._refused.get(version), time.monotonic()
        if refused is not None and now < refused.until:
            return refused
        tries = refused.tries + 1 if refused is not None else 1
        try:
            model = self.load(version)
        except Exception as error:  # damaged, out of reach, a full disk: whoever serves now goes on all the same
            log.exception("%s cannot be opened (try %d)", version, tries)
            lasting = isinstance(error, PackageInvalidError)  # what passes is tried again when the alias is
            pause = min(_LONGEST_PAUSE, self._alias_seconds * 2 ** (tries - 1)) if lasting else 0
            refused = self._refused[version] = Refusal(version, error, tries, now + pause)
            return refused
        self._refused.pop(version, None)
        return model

    def _held(self) -> set[str]:
        """Return the digests of what is open or loading here."""
        with self._lock:
            return {*self._models, *(post.served.version.digest for post in self._posts.values())}

    def _drop_oldest(self) -> None:
        """Let models go that were used longest ago; those still loading stay."""
        loaded = [digest for digest, future in self._models.items() if future.done()]
        for digest in loaded[: max(0, len(self._models) - MODELS_OPEN)]:
            del self._models[digest]


def _parsed(reference: ModelReference | str) -> ModelReference:
    return ModelReference.parse(reference) if isinstance(reference, str) else reference
