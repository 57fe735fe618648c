"""The reach into PySyncObj: everything of it that is private, patched or replaced is named here.

Each replica gets a copy of the engine's module of its own, so that clock, randomness and journal
are per instance and many replicas can live in one process. What is replaced, and why:

- `monotonicTime`, `random`: handed in (virtual time, seeds).
- `pickle`: refuses to work. Entries are opaque bytes of ours; nothing from outside is unpickled.
- `createJournal`: returns our journal, which syncs.
- pipe notifier and poller: the event loop wakes the engine; theirs leak descriptors.
- `__doApplyCommand`: hands the entry's bytes and index to the state machine. An exception is fatal:
  the stock engine would log it and try again for ever.
- `__applyLogEntries`: does not announce the commit at once: first come the answers to the writers,
  and new entries announce it as well (see `announce_commit`).
- `__sendAppendEntries`: bounded messages and a window per follower, in a fixed order. The stock
  one splits entries wrongly, sends what is in flight again, and iterates over a set.
- `__tryLogCompaction`: never; snapshots and compaction are h9s's own.
- `__otherNodes`, `__readonlyNodes`: set by `configure` to the other voters and to the learners; the
  engine counts the former, and keeps its books of both.

Must not decide anything about messages: that is `guard`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from functools import cache
from types import ModuleType
from typing import Any, Protocol

from pysyncobj.node import Node as EngineNode
from pysyncobj.version import VERSION

from h9s.raft.engine_module import private_copy
from h9s.raft.errors import EngineChangedError, SafetyError
from h9s.raft.journal import Journal, LogTuple
from h9s.raft.settings import RaftSettings

KNOWN_VERSION = "0.3.17"

_COMMAND = b"\x00"
#: What an entry's command begins with that is not for the state machine: the engine passes over it.
_CONFIGURATION_TYPE = 2
_MAX_BATCH = 1 << 40  # never reached: the engine must not split entries


class Member(EngineNode):  # type: ignore[misc]
    """A replica as the engine knows it: by id, hashed alike in every process."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._hash = int.from_bytes(name.encode()[-7:], "big")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and self.id == other.id


@cache
def member(name: str) -> Member:
    """The replica `name`, member or not."""
    return Member(name)


class EngineHost(Protocol):
    """Who the engine works for."""

    def apply(self, index: int, command: bytes) -> None:
        """A committed entry. Must not raise unless the replica has to stop."""
        ...

    def snapshot_is_needed_by(self, name: str) -> None:
        """The follower `name` lacks entries that are not in the log any more."""
        ...


class Engine:
    """One replica's consensus engine. Not thread-safe; never blocks but in the journal."""

    def __init__(
        self,
        *,
        replica_id: str,
        members: Collection[str],
        journal: Journal,
        transport_class: Callable[..., Any],
        host: EngineHost,
        monotonic: Callable[[], float],
        rng: random.Random,
        settings: RaftSettings,
    ) -> None:
        if VERSION != KNOWN_VERSION:
            raise EngineChangedError(f"PySyncObj {KNOWN_VERSION} is needed, {VERSION} is installed")
        module = private_copy(monotonic=monotonic, rng=rng, journal=journal)
        self._rng = rng
        self._settings = settings
        self._monotonic = monotonic
        self._host = host
        self.journal = journal
        self._replica_id = replica_id
        #: Who decides, this replica included if it is one of them.
        self.voters = frozenset(members)
        #: The other voters.
        self.others = [member(name) for name in sorted(members) if name != replica_id]
        #: Everybody else that gets the log.
        self.followers = self.others
        #: How often the members have changed.
        self.configurations = 0
        conf = module.SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=False,
            appendEntriesPeriod=settings.heartbeat_interval,
            raftMinTimeout=settings.election_timeout_min,
            raftMaxTimeout=settings.election_timeout_max,
            leaderFallbackTimeout=settings.leader_fallback,
            connectionTimeout=settings.election_timeout_max,
            appendEntriesBatchSizeBytes=_MAX_BATCH,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            commandsQueueSize=0,
        )
        self._object = _bind(module, host, self)(
            member(replica_id), self.others, conf, transportClass=transport_class
        )
        # A journal that begins at a snapshot: what is before has been applied.
        self._set("raftLastApplied", journal[0].index)
        self._announced_commit = 0
        #: By replica: in which term its position was last set, and to what.
        self._restarts: dict[str, tuple[int, int]] = {}

    # --- driving -----------------------------------------------------------------------------

    def tick(self, *, may_stand: bool = True) -> None:
        """Whatever is due: election, commit, apply, heartbeats, queued commands.

        Without `may_stand` no election, even if its deadline passes during the tick.
        """
        if may_stand:
            self._object.doTick(0.0)
            return
        deadline = self._get("raftElectionDeadline")
        self.set_election_deadline(math.inf)
        self._object.doTick(0.0)
        self.set_election_deadline(deadline)

    def propose(self, command: bytes) -> None:
        """Queue an entry; the next tick appends it if this replica leads then, and drops it if not."""
        self._object._applyCommand(command, None, 0)

    def propose_configuration(self, encoded: bytes) -> None:
        """Like `propose`, for an entry that says who takes part."""
        self._object._applyCommand(encoded, None, _CONFIGURATION_TYPE)

    def next_deadline(self) -> float:
        """When the next tick is due at the latest, in the clock's monotonic seconds."""
        name = "newAppendEntriesTime" if self.is_leader else "raftElectionDeadline"
        return float(self._get(name))

    def postpone_election(self) -> None:
        """Wait a whole timeout again."""
        low, high = self._settings.election_timeout_min, self._settings.election_timeout_max
        self.set_election_deadline(self._monotonic() + low + (high - low) * self._rng.random())

    def set_election_deadline(self, at: float) -> None:
        """When to stand for election unless a leader is heard from before."""
        self._set("raftElectionDeadline", at)

    def forget_leader(self) -> None:
        """Nobody is known to lead any more."""
        self._set("raftLeader", None)

    def observe_term(self, term: int) -> None:
        """A later term exists: step down into it."""
        if term > self.term:
            self._object._SyncObj__setCurrentTerm(term, None)
            self.forget_leader()
            self._object._SyncObj__setState(0)

    def install(self, index: int, term: int) -> None:
        """The state is now that of a snapshot, which is newer than what was applied."""
        self.journal.start_at(index, term)
        self._set("raftLastApplied", index)
        self._set("raftCommitIndex", max(self.commit_index, index))

    def installed_on(self, name: str, index: int) -> None:
        """A follower has installed a snapshot: everything up to `index` is on its disk."""
        match = self._get("raftMatchIndex")
        match[member(name)] = max(self.match_index(name), index)
        self.restart_at(name, self.match_index(name) + 1)
        self.replicate(name, heartbeat=True)

    def configure(
        self, *, voters: Collection[str], learners: Collection[str], renewed: Collection[str] = ()
    ) -> None:
        """These take part from now on. Of those `renewed`, nothing that they had is known any more."""
        self.configurations += 1
        self.voters = frozenset(voters)
        self.others = [member(name) for name in sorted(voters) if name != self._replica_id]
        students = [member(name) for name in sorted(learners) if name != self._replica_id]
        self.followers = [*self.others, *students]
        known = self._get("raftMatchIndex")
        for follower in self.followers:
            if follower not in known or follower.id in renewed:
                known[follower] = 0
                self._get("lastResponseTime")[follower] = self._monotonic()
                self.restart_at(follower.id, self.last_index + 1)
        for gone in set(known) - set(self.followers):
            for table in ("raftMatchIndex", "raftNextIndex", "lastResponseTime"):
                self._get(table).pop(gone, None)
            self._restarts.pop(gone.id, None)
        self._set("otherNodes", set(self.others))
        self._set("readonlyNodes", set(students))

    # --- looking -----------------------------------------------------------------------------

    @property
    def term(self) -> int:
        """The current term."""
        return int(self._object.raftCurrentTerm)

    @property
    def is_leader(self) -> bool:
        """In the leader's state; there may be a newer leader that this replica has not heard of."""
        return bool(self._object._isLeader())

    @property
    def is_voter(self) -> bool:
        """Whether this replica may stand for election."""
        return self._replica_id in self.voters

    @property
    def role(self) -> str:
        """leader, candidate or follower."""
        return ("follower", "candidate", "leader")[self._get("raftState")]

    @property
    def leader_id(self) -> str:
        """The leader that this replica follows, or is; empty if unknown."""
        leader = self._object._getLeader()
        return "" if leader is None else str(leader.id)

    @property
    def commit_index(self) -> int:
        """The highest index known to be committed."""
        return int(self._object.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        """The highest index applied."""
        return int(self._object.raftLastApplied)

    @property
    def last_index(self) -> int:
        """The log's last index, committed or not."""
        return self.journal[-1].index

    @property
    def own_term_index(self) -> int | None:
        """The entry that opened this leader's term."""
        index = self._get("noopIDx")
        return None if index is None else int(index)

    def match_index(self, name: str) -> int:
        """What the leader knows to be on that replica's disk."""
        return int(self._get("raftMatchIndex").get(member(name), 0))

    def next_index(self, name: str) -> int:
        """What the leader sends to that replica next."""
        return int(self._get("raftNextIndex").get(member(name), 0))

    def set_next_index(self, name: str, index: int) -> None:
        """Send from `index` on; what is before it is under way or acknowledged."""
        self._get("raftNextIndex")[member(name)] = index

    def restart_at(self, name: str, index: int) -> None:
        """Send from `index` on; nothing is under way."""
        self.set_next_index(name, index)
        self._restarts[name] = (self.term, index)

    # --- replication -------------------------------------------------------------------------

    def broadcast(self) -> None:
        """Send to every connected follower what it lacks, or else a heartbeat."""
        self._set("newAppendEntriesTime", self._monotonic() + self._settings.heartbeat_interval)
        self._announced_commit = self.commit_index
        connected = self._get("connectedNodes")
        for follower in self.followers:
            if follower in connected:
                self.replicate(follower.id, heartbeat=True)

    @property
    def commit_is_unannounced(self) -> bool:
        """The followers have not been told how far they may apply."""
        return bool(self.followers) and self.is_leader and self._announced_commit < self.commit_index

    def announce_commit(self) -> None:
        """Tell the followers how far they may apply, unless an earlier message has."""
        if not self.commit_is_unannounced:
            return
        connected = self._get("connectedNodes")
        for follower in self.followers:
            if follower in connected:
                self._send(follower.id, [], quiet=True)
        self._announced_commit = self.commit_index

    def replicate(self, name: str, *, heartbeat: bool) -> None:
        """Send what the follower lacks as far as its window allows; if nothing, maybe a heartbeat."""
        if self.next_index(name) <= self.journal[0].index:
            self._host.snapshot_is_needed_by(name)
            if heartbeat:
                self._send(name, [], previous=self.journal[0].index)
            return
        sent = heartbeat
        while entries := self._window(name):
            self._send(name, entries)
            self.set_next_index(name, entries[-1].index + 1)
            sent = False
        if sent:
            self._send(name, [])

    def _window(self, name: str) -> list[LogTuple]:
        """The next entries for the follower: at least one if nothing is in flight."""
        first = self.journal[0].index
        start = self.next_index(name)
        if start > self.last_index:
            return []
        in_flight = 0
        for entry in self.journal[self._first_in_flight(name) - first : start - first]:
            in_flight += len(entry.command)
        if in_flight and in_flight >= self._settings.max_in_flight_bytes:
            return []
        entries: list[LogTuple] = []
        size = 0
        for position in range(start - first, len(self.journal)):
            entry = self.journal[position]
            size += len(entry.command)
            if entries and size > self._settings.max_message_bytes:
                break
            entries.append(entry)
        return entries

    def _first_in_flight(self, name: str) -> int:
        """The first entry that may be under way. A new leader knows of no acknowledgement yet, but
        what is older than its term was sent only if the follower turned out to lack it."""
        term, restart = self._restarts.get(name, (0, 0))
        if term != self.term:
            restart = self.own_term_index or 0
        return max(self.match_index(name) + 1, restart)

    def _send(self, name: str, entries: list[LogTuple], *, quiet: bool = False, previous: int = 0) -> None:
        previous = previous or max(self.next_index(name) - 1, self.journal[0].index)
        term = self.journal.term_at(previous)
        if term is None:
            raise SafetyError(f"replica {name} needs entry {previous}, which is not in the log")
        message = {
            "type": "append_entries",
            "term": self.term,
            "commit_index": self.commit_index,
            "entries": entries,
            "prevLogIdx": previous,
            "prevLogTerm": term,
            "quiet": quiet,
        }
        self._get("transport").send(member(name), message)

    # --- private parts -----------------------------------------------------------------------

    def _get(self, name: str) -> Any:
        return getattr(self._object, f"_SyncObj__{name}")

    def _set(self, name: str, value: object) -> None:
        setattr(self._object, f"_SyncObj__{name}", value)


def _bind(module: ModuleType, host: EngineHost, engine: Engine) -> type[Any]:
    """The engine's class with the methods replaced that this module's docstring names."""
    base: Any = module.SyncObj

    class BoundSyncObj(base):  # type: ignore[misc]
        def _SyncObj__doApplyCommand(self, command: bytes) -> None:
            if command[:1] == _COMMAND:
                host.apply(self.raftLastApplied + 1, command[1:])

        def _SyncObj__applyLogEntries(self) -> bool:
            base._SyncObj__applyLogEntries(self)
            return False

        def _SyncObj__sendAppendEntries(self) -> None:
            engine.broadcast()

        def _SyncObj__tryLogCompaction(self) -> None:
            pass

    return BoundSyncObj
