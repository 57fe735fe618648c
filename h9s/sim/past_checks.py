"""The history of a simulated cluster, written down as it happens, and old reads compared with it."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Sequence

from immutables import Map

from h9s.errors import CompactedError, HistoryNotHeldError
from h9s.sim.disk import SimDisk
from h9s.store.model import ALL_KEYS, KeyRange, KeyValue, RevisionRecord
from h9s.store.past import Past
from h9s.testing.memory_archive import MemoryArchive

State = Map[str, KeyValue]


class SimArchive(MemoryArchive):
    """Fails with the disk that it is on. What was appended survives a crash."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__()
        self._disk = disk

    def append(self, records: Sequence[RevisionRecord]) -> None:
        """See `HistoryArchive.append`."""
        if self._disk.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().append(records)


class Chronicle:
    """Every revision as the first replica applied it; `fail` is told where another differs."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._records: dict[int, RevisionRecord] = {}
        self._states: dict[int, State] = {0: Map()}
        #: Old reads that were compared.
        self.reads = 0

    @property
    def revision(self) -> int:
        """The latest that any replica has applied."""
        return len(self._records)

    def applied(self, name: str, records: Sequence[RevisionRecord]) -> None:
        """The replica has applied these revisions."""
        for record in records:
            known = self._records.get(record.revision)
            if known is None:
                self._records[record.revision] = record
                self._states[record.revision] = _after(self._states[record.revision - 1], record)
            elif known != record:
                self._fail(f"{name} made something else of revision {record.revision} than the others")

    def check_all(self, name: str, past: Past) -> None:
        """Everything that the replica can still tell of the past is true."""
        for revision in range(past.first_revision, past.revision + 1):
            self._check_view(name, past, revision, ALL_KEYS)
        self._check_records(name, past, past.first_revision, past.revision)

    def check_some(self, name: str, past: Past, rng: random.Random) -> None:
        """A read somewhere in the past is true, or an error that is."""
        after, up_to = sorted(rng.randint(0, past.revision) for _ in range(2))
        try:
            self._check_view(name, past, after, rng.choice((ALL_KEYS, KeyRange.under("/sim/Item/c0/"))))
            self._check_records(name, past, after, up_to)
        except (CompactedError, HistoryNotHeldError):
            if after >= past.first_revision:
                self._fail(f"{name} says that it lacks revision {after}, but has {past.first_revision}")

    def _check_view(self, name: str, past: Past, revision: int, keys: KeyRange) -> None:
        found = {item.key: item for item in past.view(revision, keys).scan("/") if keys.covers(item.key)}
        expected = {key: item for key, item in self._states[revision].items() if keys.covers(key)}
        self.reads += 1
        if found != expected:
            self._fail(f"{name} reads something else at revision {revision} than a replay gives")

    def _check_records(self, name: str, past: Past, after: int, up_to: int) -> None:
        if up_to and past.records(ALL_KEYS, after=after, up_to=up_to) != [
            self._records[revision] for revision in range(after + 1, up_to + 1)
        ]:
            self._fail(f"{name} tells other revisions between {after} and {up_to} than were applied")


def _after(state: State, record: RevisionRecord) -> State:
    changed = state.mutate()
    for change in record.changes:
        if change.current is None:
            del changed[change.key]
        else:
            changed[change.key] = change.current
    return changed.finish()
