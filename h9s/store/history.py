"""What each recent revision changed: serves watches and reads at an old revision.

Two floors. `compact_revision` is replicated: what is below it is forgotten by everybody. Of what is
above it only the changes after `recent_revision` are held here; how many that are is this replica's own
affair and no part of the replicated state. Older ones are read from an archive (see `store.past`).

Revisions are dense, so a revision's place in the list is known without searching.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from h9s.errors import CompactedError, FutureRevisionError
from h9s.store.model import RevisionRecord

#: What a record costs beside its values, roughly, in bytes.
_RECORD_OVERHEAD = 400


class History:
    """Holds the revisions `recent_revision < r <= revision`."""

    def __init__(self) -> None:
        self._records: list[RevisionRecord] = []
        self.compact_revision = 0
        self.recent_revision = 0
        #: The latest revision.
        self.revision = 0
        #: Approximate memory held, bytes.
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: RevisionRecord) -> None:
        """Add the next revision."""
        self._records.append(record)
        self.revision = record.revision
        self.size_bytes += size_of(record)

    def after(self, revision: int, *, limit: int = 0) -> list[RevisionRecord]:
        """The revisions above `revision`, ascending, at most `limit` (0: all). Raises as `require`."""
        self.require(revision)
        start = revision - self.recent_revision
        return self._records[start : start + limit if limit else None]

    def newest_first_above(self, revision: int) -> Iterator[RevisionRecord]:
        """The revisions above `revision`, newest first. Raises as `require`."""
        self.require(revision)
        for position in range(len(self._records) - 1, revision - self.recent_revision - 1, -1):
            yield self._records[position]

    def require(self, revision: int) -> None:
        """Raise CompactedError or FutureRevisionError unless all that came after `revision` is held here."""
        if revision < self.compact_revision:
            raise compacted(revision, self.compact_revision)
        if revision < self.recent_revision:
            raise CompactedError(
                f"the changes after revision {revision} are not in memory,"
                f" only those after {self.recent_revision}"
            )
        if revision > self.revision:
            raise future(revision, self.revision)

    def revision_at(self, time_ms: int) -> int:
        """The last revision that existed at `time_ms`; `recent_revision` if all held here are younger."""
        return self.recent_revision + revisions_until(self._records, time_ms)

    def replace(
        self, records: Iterable[RevisionRecord], *, compact_revision: int, recent_revision: int
    ) -> None:
        """Become the history that was captured with these floors."""
        self._records = list(records)
        self.compact_revision = compact_revision
        self.recent_revision = recent_revision
        self.revision = recent_revision + len(self._records)
        self.size_bytes = sum(map(size_of, self._records))

    def compact(self, revision: int) -> None:
        """Forget the changes up to `revision`; one that is below the floor or unknown is capped."""
        floor = min(revision, self.revision)
        if floor > self.compact_revision:
            self.compact_revision = floor
            self.release(floor)

    def release(self, revision: int) -> None:
        """Hold the changes up to `revision` no more: they are in the archive, or given up."""
        released = min(revision, self.revision) - self.recent_revision
        if released <= 0:
            return
        self.size_bytes -= sum(map(size_of, self._records[:released]))
        del self._records[:released]
        self.recent_revision += released


def size_of(record: RevisionRecord) -> int:
    """About how much memory a record holds, in bytes."""
    return _RECORD_OVERHEAD + sum(
        len(change.current.value) if change.current is not None else 0 for change in record.changes
    )


def revisions_until(records: list[RevisionRecord], time_ms: int) -> int:
    """How many of the records, ascending, are not younger than `time_ms`."""
    return bisect_right(records, time_ms, key=lambda record: record.time_ms)


def compacted(revision: int, floor: int) -> CompactedError:
    """`revision` is below the floor of the history."""
    return CompactedError(f"revision {revision} has been compacted: the history starts at {floor}")


def future(revision: int, latest: int) -> FutureRevisionError:
    """`revision` is above the latest."""
    return FutureRevisionError(f"revision {revision} does not exist yet: the latest is {latest}")
