"""A local copy of a collection that stays current: list once, then watch from that revision.

Everybody shares the objects: they must not be changed. Handlers run in the order of revisions, on
the event loop, and must not block; what they raise ends `run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Generic, NoReturn, TypeAlias

import immutables

from h9s.api.kinds import M, kind_of
from h9s.client import metrics
from h9s.client.client import Client
from h9s.client.results import EventType, WatchEvent
from h9s.client.retry import DEFAULT_POLICY, Backoff, RetryPolicy, is_retriable
from h9s.errors import CompactedError, FutureRevisionError, H9sError

logger = logging.getLogger(__name__)

#: (namespace, name); the namespace of cluster-scoped objects is "".
Key: TypeAlias = tuple[str, str]


class Informer(Generic[M]):
    """Watches one kind, in one namespace or all, and keeps what it sees."""

    def __init__(
        self,
        client: Client,
        cls: type[M],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resync_seconds: float = 0.0,
        retry: RetryPolicy = DEFAULT_POLICY,
    ) -> None:
        """`resync_seconds`: how often handlers are called for every object although nothing changed;
        0: never. `retry`: the waits between attempts while the apiservers are away."""
        self.synced = asyncio.Event()
        #: Up to where the copy is current; 0 before the first list.
        self.revision = 0
        self._client = client
        self._cls = cls
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._resync_seconds = resync_seconds
        self._backoff = Backoff(retry, client.rng)
        self._objects: immutables.Map[Key, M] = immutables.Map()
        self._handlers: list[Callable[[M | None, M | None], None]] = []
        labels = (client.name, kind_of(cls).kind)
        self._relists = metrics.INFORMER_RELISTS.labels(*labels)
        self._reconnects = metrics.INFORMER_RECONNECTS.labels(*labels)
        self._object_count = metrics.INFORMER_OBJECTS.labels(*labels)
        self._revision_gauge = metrics.INFORMER_REVISION.labels(*labels)

    def get(self, namespace: str, name: str) -> M | None:
        """The object, or None; `namespace` is "" for cluster-scoped kinds."""
        return self._objects.get((namespace, name))

    def items(self) -> list[M]:
        """All objects, in no particular order."""
        return list(self._objects.values())

    def snapshot(self) -> Mapping[Key, M]:
        """All objects by (namespace, name) as they are now; never changes. Costs nothing."""
        return self._objects

    def __len__(self) -> int:
        return len(self._objects)

    def add_handler(self, on_change: Callable[[M | None, M | None], None]) -> None:
        """Call `on_change(old, new)` for every change; None where it did not exist or is gone.

        Objects that are known already come at once, as (None, object).
        """
        self._handlers.append(on_change)
        for obj in self._objects.values():
            on_change(None, obj)

    async def run(self) -> NoReturn:
        """Keep the copy current until cancelled, however long the apiservers are away.

        Raises errors that trying again does not mend (ForbiddenError), and what handlers raise.
        """
        if not self._resync_seconds:
            await self._follow()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._resync())
        raise AssertionError("following does not end")

    async def _follow(self) -> NoReturn:
        listed = False
        while True:
            try:
                if not listed:
                    await self._list()
                    listed = True
                await self._watch()
            except (CompactedError, FutureRevisionError) as error:
                # Future: the apiservers were restored to an earlier state than the one we saw.
                logger.info("%s: listing again: %s", self._cls.__name__, error.message)
                listed = False
            except H9sError as error:
                if not is_retriable(error):
                    raise
                logger.warning("%s: %s; trying again", self._cls.__name__, error.message)
            self._reconnects.inc()
            await asyncio.sleep(self._backoff.next())

    async def _list(self) -> None:
        self._relists.inc()
        listing = await self._client.list(
            self._cls,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        current = {_key(obj): obj for obj in listing.items}
        for key, old in self._objects.items():
            if key not in current:
                self._apply(key, old, None)
        for key, new in current.items():
            known = self._objects.get(key)
            if known is None or known.metadata.resource_version != new.metadata.resource_version:
                self._apply(key, known, new)
        self._advance(listing.revision)
        self.synced.set()

    async def _watch(self) -> NoReturn:
        changes = self._client.watch(
            self._cls,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            after_revision=self.revision,
        )
        async with aclosing(changes):
            async for batch in changes:
                for event in batch.events:
                    self._take(event)
                self._advance(batch.revision)
                self._backoff.reset()
        raise AssertionError("a watch ends only with an error")

    def _take(self, event: WatchEvent[M]) -> None:
        key = _key(event.object)
        known = self._objects.get(key)
        if event.type is not EventType.DELETED:
            self._apply(key, known, event.object)
        elif known is not None:
            self._apply(key, known, None)

    def _apply(self, key: Key, old: M | None, new: M | None) -> None:
        self._objects = self._objects.delete(key) if new is None else self._objects.set(key, new)
        for handler in self._handlers:
            handler(old, new)

    def _advance(self, revision: int) -> None:
        self.revision = revision
        self._revision_gauge.set(revision)
        self._object_count.set(len(self._objects))

    async def _resync(self) -> NoReturn:
        await self.synced.wait()
        while True:
            await asyncio.sleep(self._resync_seconds)
            for obj in self._objects.values():
                for handler in self._handlers:
                    handler(obj, obj)


def _key(obj: M) -> Key:
    return obj.metadata.namespace, obj.metadata.name
