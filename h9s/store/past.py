"""The history as one: what is in memory and, behind it, what an archive holds.

A key's value at an old revision is what it was before its first change after that revision, or else
what it is now. So a read at an old revision needs the changes since then of the keys that it is
about, and nothing else.

A `Past` is made in no time from immutable parts and may be used in any thread while the store goes on;
but a view's `scan` belongs to the store's own thread, which knows the order of keys.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from typing import NamedTuple

from h9s.errors import CompactedError, HistoryNotHeldError
from h9s.store.history import compacted, future, revisions_until
from h9s.store.keyspace import KeyspaceView
from h9s.store.model import ALL_KEYS, Change, KeyRange, KeyValue, RevisionRecord
from h9s.store.protocol import HistoryReader
from h9s.store.sorted_keys import sorted_in_runs
from h9s.store.state_machine import StateMachine


class Difference(NamedTuple):
    """What became of a key between two revisions, and which of those between was the last to change it."""

    before: KeyValue | None
    after: KeyValue | None
    revision: int


class PastView:
    """The keys of one range at an old revision. Implements `protocol.View` for keys in that range."""

    def __init__(self, live: KeyspaceView, before: dict[str, KeyValue | None], *, revision: int) -> None:
        self._live = live
        self._before = before
        self._order = list(sorted_in_runs(key for key, value in before.items() if value is not None))
        self.revision = revision

    @property
    def changed(self) -> Collection[str]:
        """The keys that have changed since."""
        return self._before.keys()

    def get(self, key: str) -> KeyValue | None:
        """See `protocol.View.get`."""
        return self._before[key] if key in self._before else self._live.get(key)

    def scan(self, prefix: str, *, after: str = "", limit: int = 0) -> list[KeyValue]:
        """See `protocol.View.scan`."""
        found: list[KeyValue] = []
        while True:
            page = self._live.scan(prefix, after=after, limit=limit)
            start = bisect_right(self._order, after) if after else 0
            # Both are looked at up to the same key.
            ends = [page[-1].key] if limit and len(page) == limit else []
            ends += self._order[start + limit - 1 : start + limit] if limit else []
            last = min(ends, default="")
            found += self._merged(page, prefix, start, last)
            if not last or len(found) >= limit:
                return found[:limit] if limit else found
            after = last

    def _merged(self, page: list[KeyValue], prefix: str, start: int, last: str) -> list[KeyValue]:
        """Of a page of what is there now, and of what was there from `start` on, up to `last` ("": all)."""
        before = self._before
        found = [item for item in page if item.key not in before and (not last or item.key <= last)]
        end = bisect_right(self._order, last) if last else len(self._order)
        for key in self._order[start:end]:
            value = self._before[key]
            if value is not None and key.startswith(prefix):
                found.append(value)
        found.sort()
        return found


class Past:
    """The history of `machine`, as it is now; `archive` holds what the machine has released."""

    def __init__(self, machine: StateMachine, archive: HistoryReader | None) -> None:
        history = machine.history
        self._live = machine.view()
        self._now_ms = machine.now_ms
        self._compact_revision = history.compact_revision
        self._recent_revision = history.recent_revision
        self._recent = history.after(history.recent_revision)
        # One that does not reach what is in memory is of no use.
        reaches = archive is not None and archive.last_revision >= history.recent_revision
        self._archive = archive if reaches else None

    @property
    def revision(self) -> int:
        """The latest."""
        return self._live.revision

    @property
    def compact_revision(self) -> int:
        """Where the cluster's history begins."""
        return self._compact_revision

    @property
    def first_revision(self) -> int:
        """The oldest revision that can be read here."""
        archive, held = self._archive, self._recent_revision
        # It may have been cut, or begun anew, since this was made.
        if archive is not None and archive.last_revision >= held:
            held = min(archive.first_revision, held)
        return max(held, self._compact_revision)

    def view(self, revision: int, keys: KeyRange) -> PastView:
        """`keys` at `revision`. Raises CompactedError, HistoryNotHeldError, FutureRevisionError."""
        self._require(revision)
        before: dict[str, KeyValue | None] = {}
        if revision < self._recent_revision:
            before = self._archived().values_before(keys, after=revision, up_to=self._recent_revision)
        recent = [] if keys.is_single and before else self._recent_after(revision)
        for record in recent:
            for change in record.changes:
                if keys.covers(change.key) and change.key not in before:
                    before[change.key] = change.previous
        return PastView(self._live, before, revision=revision)

    def records(
        self, keys: KeyRange, *, after: int, up_to: int = 0, limit: int = 0, newest_first: bool = False
    ) -> list[RevisionRecord]:
        """The revisions in `after < r <= up_to` (0: the latest) that changed some of `keys`, with those
        changes alone; ascending or newest first, at most `limit` (0: all). Raises as `view`."""
        self._require(after)
        up_to = min(up_to or self.revision, self.revision)
        sources = [self._old_records, self._recent_records]
        found: list[RevisionRecord] = []
        for source in reversed(sources) if newest_first else sources:
            room = limit - len(found) if limit else 0
            if room or not limit:
                found += source(keys, after, up_to, room, newest_first)
        return found

    def differences(self, keys: KeyRange, *, after: int, up_to: int = 0) -> dict[str, Difference]:
        """What the revisions in `after < r <= up_to` made of `keys`, by key, sorted; without those that
        are again what they were. Raises as `view`."""
        up_to = min(up_to or self.revision, self.revision)
        old, new = self.view(after, keys), self.view(up_to, keys)
        changed = [key for key in old.changed if _value(old.get(key)) != _value(new.get(key))]
        deleted = self._deletions({key for key in changed if new.get(key) is None}, after, up_to)
        found = {}
        for key in sorted_in_runs(changed):
            behind = new.get(key)
            revision = deleted[key] if behind is None else behind.mod_revision
            found[key] = Difference(old.get(key), behind, revision)
        return found

    def _deletions(self, keys: set[str], after: int, up_to: int) -> dict[str, int]:
        """The revisions that deleted these keys, which existed at `after` and do not at `up_to`."""
        found: dict[str, int] = {}
        for record in self._recent_after(after):
            if record.revision > up_to:
                break
            found.update((change.key, record.revision) for change in record.changes if change.key in keys)
        for key in keys - found.keys():
            (last,) = self._old_records(KeyRange.only(key), after, up_to, 1, True)
            found[key] = last.revision
        return found

    def record(self, revision: int) -> RevisionRecord:
        """One revision. Raises as `view`."""
        (found,) = self.records(ALL_KEYS, after=revision - 1, up_to=revision)
        return found

    def revision_at(self, time_ms: int) -> int:
        """The last revision that existed at `time_ms` (milliseconds since 1970).

        Raises CompactedError or HistoryNotHeldError where the history begins later.
        """
        if time_ms >= self._now_ms:
            return self.revision
        if self._recent and time_ms >= self._recent[0].time_ms:
            return self._recent_revision + revisions_until(self._recent, time_ms)
        found = first = self._recent_revision
        if self._archive is not None:
            found, first = min(self._archive.revision_at(time_ms), found), self._archive.first_revision
        if found > first or not found:
            self._require(found)
            return found
        raise self._too_old("that moment", self.first_revision)

    def _require(self, revision: int) -> None:
        if revision < self._compact_revision:
            raise compacted(revision, self._compact_revision)
        if revision > self.revision:
            raise future(revision, self.revision)
        if revision < self.first_revision:
            raise self._too_old(f"revision {revision}", self.first_revision)

    def _too_old(self, what: str, first: int) -> CompactedError | HistoryNotHeldError:
        if first <= self._compact_revision:
            return CompactedError(f"{what} is not in the history any more: it starts at revision {first}")
        return HistoryNotHeldError(
            f"{what} is not held by this replica: its own history starts at revision {first},"
            f" the cluster's at {self._compact_revision}"
        )

    def _archived(self) -> HistoryReader:
        assert self._archive is not None, "a revision below those in memory is only read with an archive"
        return self._archive

    def _old_records(
        self, keys: KeyRange, after: int, up_to: int, limit: int, newest_first: bool
    ) -> list[RevisionRecord]:
        if after >= self._recent_revision:
            return []
        up_to = min(up_to, self._recent_revision)
        return self._archived().records(
            keys, after=after, up_to=up_to, limit=limit, newest_first=newest_first
        )

    def _recent_records(
        self, keys: KeyRange, after: int, up_to: int, limit: int, newest_first: bool
    ) -> list[RevisionRecord]:
        records = self._recent_after(after)[: max(0, up_to - max(after, self._recent_revision))]
        found: list[RevisionRecord] = []
        for record in reversed(records) if newest_first else records:
            changes = covered(record.changes, keys)
            if changes:
                found.append(record._replace(changes=changes))
                if len(found) == limit:
                    break
        return found

    def _recent_after(self, revision: int) -> list[RevisionRecord]:
        return self._recent[max(0, revision - self._recent_revision) :]


def _value(item: KeyValue | None) -> bytes | None:
    return None if item is None else item.value


def require_held(after: int, up_to: int, *, first: int, last: int) -> None:
    """Raise HistoryNotHeldError unless an archive of `first < r <= last` has all of `after < r <= up_to`:
    it may have been cut since somebody decided to read it."""
    if after < first or up_to > max(after, last):
        raise HistoryNotHeldError(
            f"revisions {after} to {up_to} are not held by this replica: its archive has {first} to {last}"
        )


def covered(changes: tuple[Change, ...], keys: KeyRange) -> tuple[Change, ...]:
    """Those of `changes` that are of `keys`."""
    if all(keys.covers(change.key) for change in changes):
        return changes
    return tuple(change for change in changes if keys.covers(change.key))
