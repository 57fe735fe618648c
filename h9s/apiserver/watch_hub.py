"""Watches: every watcher is a cursor over the store's changes, woken when something it covers changed.

Semantics are etcd's. A watcher gets every change that it selects, once, in order, a revision's
changes together, and between them the revision up to which it has everything (bookmarks). Nothing
is queued for a watcher: one that reads slowly is behind in the history and catches up from there,
or, where that is compacted, ends with CompactedError. The hub only tells who has something to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from h9s._pb import api_pb2
from h9s.apiserver import instruments
from h9s.apiserver.listing import write_object
from h9s.apiserver.selection import Selection
from h9s.errors import CompactedError, HistoryNotHeldError
from h9s.store.model import Change
from h9s.store.protocol import Store

#: How many revisions are read from the store at a time.
_READ_REVISIONS = 500
_READ_OLD_REVISIONS = 200
#: A response ends with the revision that takes it past either of these.
_MAX_EVENTS = 1000
_MAX_BYTES = 2 * 1024 * 1024
_REMIND_AT_ONCE = 100


class Watcher:
    """One watch's place in the history."""

    def __init__(self, hub: WatchHub, selection: Selection, *, after_revision: int, previous: bool) -> None:
        self._hub = hub
        self._selection = selection
        self._previous = previous
        #: Everything selected up to here has been given out.
        self.revision = after_revision
        #: The first revision that may hold something more; 0: none.
        self._touched = after_revision + 1 if after_revision < hub.revision else 0
        self._bookmark_due = True
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> api_pb2.WatchResponse:
        """The next events, or a bookmark. Raises CompactedError.

        The first answer comes at once and may be a bookmark: it tells where the watch starts.
        """
        while True:
            response = self._read() if self._is_recent else await self._read_old()
            if response.events or (self._bookmark_due and not self._touched):
                self._bookmark_due = False
                response.revision = self.revision
                instruments.WATCH_EVENTS.inc(len(response.events))
                return response
            if self._touched:
                # Much of no concern: let others have their turn.
                await asyncio.sleep(0)
            else:
                await self._wait()

    def touch(self, revision: int) -> None:
        """Something that the watch covers changed at `revision`."""
        if not self._touched and revision > self.revision:
            self._touched = revision
            self._wake()

    def remind(self) -> None:
        """A bookmark is due."""
        self._bookmark_due = True
        self._wake()

    @property
    def _after(self) -> int:
        """Nothing before the touch was of concern."""
        return max(self.revision, self._touched - 1)

    @property
    def _is_recent(self) -> bool:
        """What is to be read next is in memory."""
        return not self._touched or self._after >= self._hub.store.recent_revision

    def _read(self) -> api_pb2.WatchResponse:
        response = api_pb2.WatchResponse()
        if not self._touched:
            self.revision = max(self.revision, self._hub.revision)
            return response
        records = self._hub.store.changes(self._after, limit=_READ_REVISIONS)
        if self._fill(response, records):
            self._touched = self.revision + 1 if len(records) == _READ_REVISIONS else 0
        return response

    async def _read_old(self) -> api_pb2.WatchResponse:
        """From the archive, up to where memory begins."""
        response = api_pb2.WatchResponse()
        after, up_to = self._after, self._hub.store.recent_revision
        try:
            records = await self._hub.store.look_back(
                lambda past: past.records(
                    self._selection.keys, after=after, up_to=up_to, limit=_READ_OLD_REVISIONS
                )
            )
        except HistoryNotHeldError as error:
            # Listing again, here as well as elsewhere, is as good as asking around.
            raise CompactedError(error.message) from error
        if self._fill(response, [(record.revision, record.changes) for record in records]):
            if len(records) < _READ_OLD_REVISIONS:
                self.revision = up_to
            self._touched = self.revision + 1
        return response

    def _fill(
        self, response: api_pb2.WatchResponse, records: Sequence[tuple[int, tuple[Change, ...]]]
    ) -> bool:
        """Put as many of the records into the response as it takes; whether that was all of them."""
        size = 0
        for revision, changes in records:
            for change in changes:
                if self._selection.covers(change.key):
                    size += add_event(response, change, self._selection, previous=self._previous)
            self.revision = revision
            if len(response.events) >= _MAX_EVENTS or size >= _MAX_BYTES:
                self._touched = revision + 1 if revision < self._hub.store.revision else 0
                return False
        return True

    async def _wait(self) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class WatchHub:
    """All watchers of this replica. `run` must be running for them to make progress."""

    def __init__(self, store: Store, *, bookmark_seconds: float) -> None:
        self.store = store
        #: Up to here every watcher that is concerned has been touched.
        self.revision = store.revision
        self._bookmark_seconds = bookmark_seconds
        #: By what a changed key may be found under: itself, or a prefix of it that ends in "/".
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many watchers there are."""
        return self._count

    @contextmanager
    def watch(self, selection: Selection, *, after_revision: int, previous: bool) -> Iterator[Watcher]:
        """A watcher of the changes above `after_revision`, which may lie ahead of this replica."""
        watcher = Watcher(self, selection, after_revision=after_revision, previous=previous)
        watchers = self._watchers.setdefault(selection.prefix, {})
        watchers[watcher] = None
        self._count += 1
        instruments.WATCHERS.inc()
        try:
            yield watcher
        finally:
            watchers.pop(watcher, None)
            if not watchers:
                self._watchers.pop(selection.prefix, None)
            self._count -= 1
            instruments.WATCHERS.dec()

    async def run(self) -> None:
        """Touch the watchers as the store changes, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="watch-hub-follow")
            tasks.create_task(self._remind(), name="watch-hub-bookmarks")

    async def _follow(self) -> None:
        while True:
            await self.store.wait_for_change(self.revision)
            try:
                records = self.store.changes(self.revision, limit=_READ_REVISIONS)
            except CompactedError:
                # A snapshot took the place of what was missed: each watcher finds out what that means for it,
                # also one that had come from further ahead than this replica was.
                missed, self.revision = self.revision + 1, self.store.revision
                for watcher in self._everyone():
                    if watcher.revision < self.revision:
                        watcher.touch(max(missed, watcher.revision + 1))
                continue
            for revision, changes in records:
                for change in changes:
                    self._touch(change.key, revision)
                self.revision = revision
            if len(records) == _READ_REVISIONS:
                await asyncio.sleep(0)

    def _touch(self, key: str, revision: int) -> None:
        watchers = self._watchers
        for prefix in ("/", *_prefixes(key), key):
            for watcher in watchers.get(prefix, ()):
                watcher.touch(revision)

    async def _remind(self) -> None:
        """Every watcher once per period; many of them not all in the same moment."""
        while True:
            everyone = self._everyone()
            starts = range(0, max(1, len(everyone)), _REMIND_AT_ONCE)
            for start in starts:
                await asyncio.sleep(self._bookmark_seconds / len(starts))
                for watcher in everyone[start : start + _REMIND_AT_ONCE]:
                    watcher.remind()

    def _everyone(self) -> list[Watcher]:
        return [watcher for watchers in self._watchers.values() for watcher in watchers]


def add_event(
    response: api_pb2.WatchResponse, change: Change, selection: Selection, *, previous: bool
) -> int:
    """Add what the change is to the selection, if anything; the size of the value in bytes.

    An object that a change moves into the selection is ADDED, one that it moves out is DELETED.
    """
    current, before = change.current, change.previous
    selects = selection.selects
    if selects is not None:
        current = current if current is not None and selects(current) else None
        before = before if before is not None and selects(before) else None
    shown = before if current is None else current
    if shown is None:
        return 0
    event = response.events.add()
    write_object(event.object, shown)
    if current is None:
        event.type = api_pb2.WatchEvent.DELETED
        event.object.mod_revision = change.revision
    else:
        event.type = api_pb2.WatchEvent.ADDED if before is None else api_pb2.WatchEvent.MODIFIED
    if previous and change.previous is not None:
        write_object(event.previous, change.previous)
    return len(shown.value)


def _prefixes(key: str) -> tuple[str, str]:
    """`/core/Pod/default/web` -> `/core/Pod/`, `/core/Pod/default/`: what a watch may be on."""
    kind_end = key.index("/", key.index("/", 1) + 1) + 1
    return key[:kind_end], key[: key.rindex("/") + 1]
