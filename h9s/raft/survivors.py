"""What is left after a majority was lost for good: which data to go on with, and what that costs. Pure.

By Raft's own rule the log that ends with the later term, or in the same term with the higher index, has
every committed entry that any log behind it has. So going on with the freshest loses nothing that was
acknowledged by a majority of which one member is among the survivors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from h9s.raft.inspection import DataReport


class Survivor(NamedTuple):
    """One replica's data."""

    replica_id: str
    report: DataReport
    incarnation: int = 0

    @property
    def is_whole(self) -> bool:
        """Nothing in it is damaged."""
        return not self.report.faults


@dataclass(frozen=True)
class Comparison:
    """The survivors, and which of them to go on with; None if all are damaged."""

    survivors: Sequence[Survivor]
    #: The voters and their incarnations, where that is known.
    voters: Mapping[str, int] = field(default_factory=dict)

    @property
    def freshest(self) -> Survivor | None:
        """The one whose log is the furthest."""
        whole = [survivor for survivor in self.survivors if survivor.is_whole]
        return max(whole, key=lambda survivor: survivor.report.last, default=None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The voters of which there is no whole data here, or none of the life that votes."""
        there = {(each.replica_id, each.incarnation) for each in self.survivors if each.is_whole}
        return tuple(name for name, life in self.voters.items() if (name, life) not in there)

    @property
    def nothing_is_lost(self) -> bool:
        """Every majority had one of the survivors in it."""
        return bool(self.voters) and 2 * len(self.missing) <= len(self.voters) - 1

    def uncommitted(self, survivor: Survivor) -> int:
        """How many entries of its log the freshest one's does not have: none of them was ever committed."""
        freshest = self.freshest
        if freshest is None or not survivor.is_whole:
            return 0
        terms = {entry[1]: entry.term for entry in freshest.report.journal.entries}
        first = min(terms, default=0)
        entries = survivor.report.journal.entries
        return sum(terms.get(entry[1]) != entry.term for entry in entries if entry[1] >= first)
