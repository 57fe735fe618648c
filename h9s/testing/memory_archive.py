"""An archive of old revisions without a file: as durable as whoever keeps it."""

from __future__ import annotations

from collections.abc import Sequence

from h9s.store.history import revisions_until
from h9s.store.model import KeyRange, KeyValue, RevisionRecord
from h9s.store.past import covered, require_held


class MemoryArchive:
    """Implements `h9s.raft.history_archive.HistoryArchive`."""

    def __init__(self, *, first_revision: int = 0) -> None:
        self.first_revision = first_revision
        self.is_damaged = False
        self._records: list[RevisionRecord] = []

    @property
    def last_revision(self) -> int:
        """See `HistoryReader`."""
        return self.first_revision + len(self._records)

    @property
    def size_bytes(self) -> int:
        """See `HistoryArchive`."""
        return sum(len(change.current.value) for r in self._records for change in r.changes if change.current)

    def append(self, records: Sequence[RevisionRecord]) -> None:
        """See `HistoryArchive`."""
        if records and records[0].revision != self.last_revision + 1:
            self.reset(records[0].revision - 1)
        self._records += records

    def reset(self, revision: int) -> None:
        """Begin anew after `revision`."""
        self.first_revision = revision
        self._records = []

    def cut_after(self, revision: int) -> None:
        """See `HistoryArchive`."""
        if revision < self.first_revision:
            self.reset(revision)
        else:
            del self._records[revision - self.first_revision :]

    def prune(self, revision: int) -> None:
        """See `HistoryArchive`."""
        pruned = min(revision, self.last_revision) - self.first_revision
        if pruned > 0:
            del self._records[:pruned]
            self.first_revision += pruned

    def close(self) -> None:
        """See `HistoryArchive`."""

    def set_aside(self) -> None:
        """See `HistoryArchive`."""
        self.reset(0)

    def values_before(self, keys: KeyRange, *, after: int, up_to: int) -> dict[str, KeyValue | None]:
        """See `HistoryReader`."""
        found: dict[str, KeyValue | None] = {}
        for record in self.records(keys, after=after, up_to=up_to):
            for change in record.changes:
                found.setdefault(change.key, change.previous)
        return found

    def records(
        self, keys: KeyRange, *, after: int, up_to: int, limit: int = 0, newest_first: bool = False
    ) -> list[RevisionRecord]:
        """See `HistoryReader`."""
        require_held(after, up_to, first=self.first_revision, last=self.last_revision)
        part = self._records[after - self.first_revision : max(0, up_to - self.first_revision)]
        found = [record._replace(changes=covered(record.changes, keys)) for record in part]
        found = [record for record in found if record.changes]
        if newest_first:
            found.reverse()
        return found[:limit] if limit else found

    def revision_at(self, time_ms: int) -> int:
        """See `HistoryReader`."""
        return self.first_revision + revisions_until(self._records, time_ms)
