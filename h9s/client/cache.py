"""A local copy of several kinds, always as they were at one revision.

One list and one watch feed all kinds, so that a ReplicaSet and its pods are never seen at different
moments: decisions may rely on that (a commit guarded by a revision that was read fails if anything
that belongs to it was missed). For one kind, or where that does not matter, there is the informer,
which is sent less. Objects are shared and must not be changed. Handlers run in
the order of revisions on the event loop and must not block; what they raise ends `run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from h9s.api.kinds import ApiObject, M
from h9s.client.client import Client
from h9s.client.results import EventType
from h9s.client.retry import DEFAULT_POLICY, Backoff, RetryPolicy, is_retriable
from h9s.errors import CompactedError, FutureRevisionError, H9sError

logger = logging.getLogger(__name__)

#: (namespace, name); the namespace of cluster-scoped objects is "".
Key: TypeAlias = tuple[str, str]
V = TypeVar("V", bound=Hashable)


def key_of(obj: ApiObject) -> Key:
    """Under which an object is known among those of its kind."""
    return obj.metadata.namespace, obj.metadata.name


class Collection(Generic[M]):
    """All objects of one kind, at the cache's revision."""

    def __init__(self, cls: type[M]) -> None:
        self.cls = cls
        self._objects: dict[Key, M] = {}
        self._handlers: list[Callable[[M | None, M | None], None]] = []

    def get(self, namespace: str, name: str) -> M | None:
        """The object, or None; `namespace` is "" for cluster-scoped kinds."""
        return self._objects.get((namespace, name))

    def items(self) -> list[M]:
        """All objects, in no particular order."""
        return list(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def add_handler(self, on_change: Callable[[M | None, M | None], None]) -> None:
        """Call `on_change(old, new)` for every change; None where it did not exist or is gone.
        Objects that are known already come at once, as (None, object)."""
        self._handlers.append(on_change)
        for obj in self.items():
            on_change(None, obj)

    def apply(self, key: Key, new: M | None) -> None:
        """The object has become `new`. For the cache alone."""
        old = self._objects.get(key)
        if new is not None:
            self._objects[key] = new
        elif old is not None:
            del self._objects[key]
        else:
            return
        for handler in self._handlers:
            handler(old, new)

    def replace_all(self, objects: Sequence[M]) -> None:
        """These and no others are there now. For the cache alone."""
        current = {key_of(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in current]:
            self.apply(key, None)
        for key, new in current.items():
            old = self._objects.get(key)
            if old is None or old.metadata.resource_version != new.metadata.resource_version:
                self.apply(key, new)


class Index(Generic[M, V]):
    """The objects of a collection by something that follows from each."""

    def __init__(self, collection: Collection[M], values_of: Callable[[M], Iterable[V]]) -> None:
        """`values_of`: under which values an object is found; none, one or more."""
        self._values_of = values_of
        self._found: defaultdict[V, dict[Key, M]] = defaultdict(dict)
        collection.add_handler(self._on_change)

    def get(self, value: V) -> list[M]:
        """All objects under a value, in no particular order."""
        return list(self._found[value].values()) if value in self._found else []

    def __contains__(self, value: V) -> bool:
        return value in self._found

    def _on_change(self, old: M | None, new: M | None) -> None:
        if old is not None:
            for value in self._values_of(old):
                self._found[value].pop(key_of(old), None)
                if not self._found[value]:
                    del self._found[value]
        if new is not None:
            for value in self._values_of(new):
                self._found[value][key_of(new)] = new


class Cache:
    """Several kinds, in all namespaces, kept current by `run`."""

    def __init__(
        self, client: Client, classes: Sequence[type[Any]], *, retry: RetryPolicy = DEFAULT_POLICY
    ) -> None:
        """`retry`: the waits between attempts while the apiservers are away."""
        self.synced = asyncio.Event()
        #: Every collection is as it was at this revision; 0 before the first list.
        self.revision = 0
        self._client = client
        self._advanced = asyncio.Event()
        #: Counts restores of the apiservers to an earlier state, after which revisions mean something else.
        self._restores = 0
        self._backoff = Backoff(retry, client.rng)
        self._collections: dict[type[Any], Collection[Any]] = {cls: Collection(cls) for cls in classes}

    def of(self, cls: type[M]) -> Collection[M]:
        """The collection of a kind."""
        return self._collections[cls]

    @property
    def collections(self) -> list[Collection[Any]]:
        """One for each kind."""
        return list(self._collections.values())

    async def reached(self, revision: int) -> None:
        """Wait until everything up to `revision` has been seen."""
        restores = self._restores
        while self.revision < revision and self._restores == restores:
            await self._advanced.wait()

    async def run(self) -> NoReturn:
        """Keep the cache current until cancelled, however long the apiservers are away.

        Raises errors that trying again does not mend (ForbiddenError), and what handlers raise.
        """
        listed = False
        while True:
            try:
                if not listed:
                    await self._list()
                    listed = True
                await self._watch()
            except CompactedError as error:
                logger.info("listing again: %s", error.message)
                listed = False
            except H9sError as error:
                if not is_retriable(error):
                    raise
                if isinstance(error.__cause__, FutureRevisionError):
                    # The apiservers were restored to an earlier state than the one we saw.
                    self._restores += 1
                    listed = False
                logger.warning("%s; trying again", error.message)
            await asyncio.sleep(self._backoff.next())

    async def _list(self) -> None:
        revision = 0
        listings = []
        for collection in self._collections.values():
            listing = await self._client.list(collection.cls, revision=revision)
            revision = listing.revision
            listings.append((collection, listing.items))
            if not revision:
                # Nothing has ever been written, and to the next list 0 would mean "now".
                listings = [(each, []) for each in self._collections.values()]
                break
        for collection, items in listings:
            collection.replace_all(items)
        self._advance(revision)
        self.synced.set()

    async def _watch(self) -> NoReturn:
        changes = self._client.watch_kinds(self._collections, after_revision=self.revision)
        async with aclosing(changes):
            async for batch in changes:
                for event in batch.events:
                    new = None if event.type is EventType.DELETED else event.object
                    self._collections[type(event.object)].apply(key_of(event.object), new)
                self._advance(batch.revision)
                self._backoff.reset()
        raise AssertionError("a watch ends only with an error")

    def _advance(self, revision: int) -> None:
        self.revision = revision
        self._advanced.set()
        self._advanced = asyncio.Event()
