"""What really happened: every revision's changes, as replicas applied them or as their history tells.

All replicas have to tell the same. What clients and watchers were told is judged by it.

Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from h9s.sim.operations import Value


class LedgerChange(NamedTuple):
    """What one revision made of one key."""

    key: str
    value: Value


class Ledger:
    """The revisions after `first_revision`, dense; `initial` keys are not told of."""

    def __init__(self, *, after_revision: int = 0) -> None:
        self.first_revision = after_revision
        self._revisions: dict[int, tuple[LedgerChange, ...]] = {}
        #: By key: the revisions that changed it, and what they made of it.
        self._changed: dict[str, list[int]] = {}
        self._values: dict[str, list[Value]] = {}

    @property
    def revision(self) -> int:
        """The latest revision."""
        return self.first_revision + len(self._revisions)

    def add(self, revision: int, changes: Sequence[LedgerChange]) -> str:
        """Note what a replica tells of a revision; what contradicts others, or empty."""
        told = tuple(changes)
        if revision <= self.first_revision:
            return ""
        known = self._revisions.get(revision)
        if known is not None:
            return "" if known == told else f"revision {revision} is {told} here and {known} elsewhere"
        if revision != self.revision + 1:
            return f"revision {revision} follows revision {self.revision}"
        self._revisions[revision] = told
        for key, value in told:
            self._changed.setdefault(key, []).append(revision)
            self._values.setdefault(key, []).append(value)
        return ""

    def changes(self, revision: int, *, prefix: str = "") -> tuple[LedgerChange, ...]:
        """What a revision changed below a prefix; nothing where it does not exist."""
        return tuple(one for one in self._revisions.get(revision, ()) if one.key.startswith(prefix))

    def between(self, after: int, up_to: int, *, prefix: str = "") -> Iterator[tuple[int, LedgerChange]]:
        """All changes below a prefix at the revisions `after < r <= up_to`, in order."""
        for revision in range(after + 1, min(up_to, self.revision) + 1):
            for change in self.changes(revision, prefix=prefix):
                yield revision, change

    def value(self, key: str, revision: int) -> Value:
        """What a key held at a revision."""
        place = bisect_right(self._changed.get(key, ()), revision)
        return self._values[key][place - 1] if place else None

    def mod_revision(self, key: str, revision: int) -> int:
        """The revision that had last changed a key at a revision; 0 if it did not exist then."""
        place = bisect_right(self._changed.get(key, ()), revision)
        if not place or self._values[key][place - 1] is None:
            return 0
        return self._changed[key][place - 1]

    def state(self, revision: int, *, prefix: str = "") -> dict[str, bytes]:
        """All keys below a prefix and what they held at a revision."""
        held = {key: self.value(key, revision) for key in sorted(self._changed) if key.startswith(prefix)}
        return {key: value for key, value in held.items() if value is not None}
