"""What each recent revision changed: serves watches, reads at an old revision and time travel.

Revisions are dense, so a revision's place in the list is known without searching. The floor
(`compact_revision`) only moves up, by a replicated command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from h9s.errors import CompactedError, FutureRevisionError
from h9s.store.model import RevisionRecord

#: What a record costs beside its values, roughly, in bytes.
_RECORD_OVERHEAD = 400


class History:
    """The revisions `compact_revision < r <= revision`."""

    def __init__(self) -> None:
        self._records: list[RevisionRecord] = []
        self.compact_revision = 0
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
        self.size_bytes += _size(record)

    def after(self, revision: int, *, limit: int = 0) -> list[RevisionRecord]:
        """The revisions above `revision`, ascending, at most `limit` (0: all). Raises CompactedError."""
        self.require(revision)
        start = revision - self.compact_revision
        return self._records[start : start + limit if limit else None]

    def newest_first_above(self, revision: int) -> Iterator[RevisionRecord]:
        """The revisions above `revision`, newest first. Raises CompactedError, FutureRevisionError."""
        self.require(revision)
        for position in range(len(self._records) - 1, revision - self.compact_revision - 1, -1):
            yield self._records[position]

    def require(self, revision: int) -> None:
        """Raise CompactedError or FutureRevisionError unless the state at `revision` can be told."""
        if revision < self.compact_revision:
            raise CompactedError(
                f"revision {revision} has been compacted: the history starts at {self.compact_revision}"
            )
        if revision > self.revision:
            raise FutureRevisionError(
                f"revision {revision} does not exist yet: the latest is {self.revision}"
            )

    def revision_at(self, time_ms: int) -> int:
        """The last revision that existed at `time_ms`; the floor if all are younger."""
        low, high = 0, len(self._records)
        while low < high:
            middle = (low + high) // 2
            if self._records[middle].time_ms <= time_ms:
                low = middle + 1
            else:
                high = middle
        return self.compact_revision + low

    def replace(self, records: Iterable[RevisionRecord], *, compact_revision: int) -> None:
        """Become the history that was captured with this floor."""
        self._records = list(records)
        self.compact_revision = compact_revision
        self.revision = compact_revision + len(self._records)
        self.size_bytes = sum(map(_size, self._records))

    def compact(self, revision: int) -> None:
        """Forget the changes up to `revision`; one that is below the floor or unknown is capped."""
        dropped = min(revision, self.revision) - self.compact_revision
        if dropped <= 0:
            return
        self.size_bytes -= sum(_size(record) for record in self._records[:dropped])
        del self._records[:dropped]
        self.compact_revision += dropped


def _size(record: RevisionRecord) -> int:
    return _RECORD_OVERHEAD + sum(
        len(change.current.value) if change.current is not None else 0 for change in record.changes
    )
