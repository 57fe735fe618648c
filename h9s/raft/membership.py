"""Which configuration is in effect on one replica: the last one in its log, committed or not.

A configuration takes effect when its entry is appended, and is taken back when that entry is cut. Where
the log has none, the newest snapshot's is in effect, and where there is no such snapshot, the founding
one: what the replica's settings say, or nothing for a replica that joins. Watches the journal; decides
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from h9s.raft.configuration import Configuration, Member
from h9s.raft.journal import LogTuple

#: How the command of an entry begins that holds a configuration.
PREFIX = b"\x02"


class Membership:
    """One replica's view of who takes part, itself included: `incarnation` is its own."""

    def __init__(self, *, replica_id: str, incarnation: int = 0, founding: Configuration) -> None:
        self.replica_id = replica_id
        self.incarnation = incarnation
        #: Told of every change of what is in effect.
        self.on_change: Callable[[], None] = lambda: None
        self._founding = founding
        #: Index and configuration, ascending; the first is of the snapshot, or the founding one at 0.
        self._stack: list[tuple[int, Configuration]] = [(0, founding)]

    # --- looking -----------------------------------------------------------------------------

    @property
    def effective(self) -> Configuration:
        """The configuration that counts now."""
        return self._stack[-1][1]

    @property
    def index(self) -> int:
        """The entry that it came with."""
        return self._stack[-1][0]

    @property
    def changes(self) -> tuple[tuple[int, Configuration], ...]:
        """All that the log and the snapshot tell of, by index; the last is in effect."""
        return tuple(self._stack)

    def at(self, index: int) -> tuple[int, Configuration]:
        """The configuration that was in effect behind the entry `index`, and the entry it came with."""
        return next((item for item in reversed(self._stack) if item[0] <= index), self._stack[0])

    def incarnation_of(self, replica_id: str) -> int:
        """Under which incarnation a replica takes part; 0 for one that does not."""
        member = self.effective.get(replica_id)
        return 0 if member is None else member.incarnation

    def is_member(self, replica_id: str, incarnation: int) -> bool:
        """Whether that life of the replica takes part."""
        member = self.effective.get(replica_id)
        return member is not None and member.incarnation == incarnation

    @property
    def self_member(self) -> Member | None:
        """This replica, if this life of it takes part."""
        member = self.effective.get(self.replica_id)
        return member if member is not None and member.incarnation == self.incarnation else None

    @property
    def is_voter(self) -> bool:
        """Whether this replica may stand for election."""
        member = self.self_member
        return member is not None and member.voter

    def is_retired_at(self, index: int) -> bool:
        """Whether the configuration in effect behind that entry says that this life takes part no more."""
        return (self.replica_id, self.incarnation) in self.at(index)[1].retired

    # --- following the log -------------------------------------------------------------------

    def appended(self, index: int, command: bytes) -> None:
        """An entry was appended to the log."""
        if command[:1] == PREFIX:
            self._stack.append((index, Configuration.decode(command[1:])))
            self.on_change()

    def cut(self, index: int) -> None:
        """The entries from `index` on were taken back."""
        before = len(self._stack)
        while len(self._stack) > 1 and self._stack[-1][0] >= index:
            self._stack.pop()
        if len(self._stack) != before:
            self.on_change()

    def rebase(self, index: int, configuration: Configuration | None, log: Iterable[LogTuple]) -> None:
        """A snapshot of `index` is the beginning now; None: nothing had ever been changed then.

        `log` is what follows it.
        """
        base = (0, self._founding) if configuration is None else (index, configuration)
        found = (
            (entry.index, Configuration.decode(entry.command[1:]))
            for entry in log
            if entry.index > index and entry.command[:1] == PREFIX
        )
        self._stack = [base, *found]
        self.on_change()
