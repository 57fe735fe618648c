"""One replica's engine, guard and journal, with time, disk and all other replicas in the test's hands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, TypeVar

from h9s._pb import log_pb2
from h9s.raft.configuration import Configuration, Member
from h9s.raft.engine import Engine
from h9s.raft.guard import GuardedTransport
from h9s.raft.journal import Journal
from h9s.raft.membership import Membership
from h9s.raft.settings import RaftSettings
from h9s.sim.disk import SimDisk
from h9s.testing.virtual_loop import run_virtual

T = TypeVar("T")

#: Of a test, in virtual time: beyond everything that any of them waits for.
DEADLINE_SECONDS = 300.0

MEMBERS = ("r1", "r2", "r3")
SETTINGS = RaftSettings(
    election_timeout_min=1.0, election_timeout_max=2.0, heartbeat_interval=0.1, leader_fallback=0.4
)

SYNC = "sync"


class Disk(SimDisk):
    """Counts its syncs in the same list as the messages, so that their order shows."""

    def __init__(self, events: list[Any]) -> None:
        super().__init__(random.Random(0), on_sync=lambda: events.append(SYNC))


class Replica:
    """The replica r1. `events` holds in order what it did: SYNC, or (receiver, message)."""

    def __init__(
        self,
        *,
        members: Sequence[str] = MEMBERS,
        settings: RaftSettings = SETTINGS,
        log: Sequence[int] = (),
        connected: bool = True,
        incarnation: int = 0,
    ) -> None:
        self.events: list[Any] = []
        self.applied: list[tuple[int, bytes]] = []
        #: Who lacks entries that the log has dropped.
        self.lacking: list[str] = []
        self.now = 1000.0
        self.incarnations: dict[str, int] = {}
        self.disk = Disk(self.events)
        self._members = members
        self._incarnation = incarnation
        self._settings = settings
        self._open()
        for index, term in enumerate(log, start=2):
            self.journal.add(b"\0old", index, term)
            self.journal.setCurrentTerm(max(term, self.journal.getCurrentTerm()), None)
        if log:
            self.journal.sync()
            self._open()
        if connected:
            for name in members[1:]:
                self.guard.connected(name)
        self.events.clear()

    def _open(self) -> None:
        self.journal = Journal(self.disk, identity="test/r1")
        self.membership = membership_of(self._members, incarnation=self._incarnation)
        self.membership.rebase(0, None, self.journal)
        self.guard = GuardedTransport(send=self._send, membership=self.membership)
        self.engine = Engine(
            replica_id="r1",
            members=self._members,
            journal=self.journal,
            transport_class=lambda *_: self.guard,
            host=self,
            monotonic=lambda: self.now,
            rng=random.Random(1),
            settings=self._settings,
        )
        self.guard.attach(self.engine)
        self.journal.observer = self.membership
        self.membership.on_change = self._configure
        self._configure()

    def _configure(self) -> None:
        before, effective = self.incarnations, self.membership.effective
        self.incarnations = {member.id: member.incarnation for member in effective.members}
        self.engine.configure(
            voters=effective.voters,
            learners=effective.learners,
            renewed={
                name for name, number in self.incarnations.items() if before.get(name, number) != number
            },
        )

    def lose_power(self) -> None:
        """Crash, and start again from what is on disk."""
        self.disk.crash()
        self._open()
        self.events.clear()

    def _send(self, name: str, message: log_pb2.PeerMessage) -> bool:
        copy = log_pb2.PeerMessage()
        copy.CopyFrom(message)
        self.events.append((name, copy))
        return True

    def snapshot_is_needed_by(self, name: str) -> None:
        self.lacking.append(name)

    def apply(self, index: int, command: bytes) -> None:
        self.applied.append((index, command))

    # --- what the test does ------------------------------------------------------------------

    def tick(self, *, after: float = 0.0) -> None:
        self.now += after
        self.engine.tick()

    def stand(self) -> int:
        """Let it stand for election; the term."""
        self.tick(after=2.1)
        assert self.engine.role == "candidate"
        return self.engine.term

    def lead(self) -> int:
        """Let it be elected by r2; the term. What it sent is forgotten."""
        self.stand()
        for name in self._members[1 : len(self._members) // 2 + 1]:
            self.receive(name, vote())
        assert self.engine.is_leader
        self.events.clear()
        return self.engine.term

    def lead_alone(self) -> None:
        """Let it be elected where it is the only member, and open its term."""
        self.tick(after=2.1)
        self.tick()
        assert self.engine.is_leader

    def receive(self, name: str, message: log_pb2.PeerMessage, *, term: int | None = None) -> None:
        message.term = self.engine.term if term is None else term
        self.guard.receive(name, message)

    def propose(self, *commands: bytes) -> None:
        for command in commands:
            self.engine.propose(command)
        self.tick()

    # --- what it did -------------------------------------------------------------------------

    def did(self) -> list[str]:
        """SYNC, or the kind of the message that it sent, in order."""
        return [str(event if event == SYNC else event[1].WhichOneof("body")) for event in self.events]

    def sent(self, name: str = "", kind: str = "") -> list[log_pb2.PeerMessage]:
        """Take the messages sent so far, those to one replica or of one kind."""

        def is_wanted(event: Any) -> bool:
            return event != SYNC and name in ("", event[0]) and kind in ("", event[1].WhichOneof("body"))

        taken = [event[1] for event in self.events if is_wanted(event)]
        self.events[:] = [event for event in self.events if not is_wanted(event)]
        return taken

    def terms(self) -> list[int]:
        """The terms of its log's entries."""
        return [entry.term for entry in self.journal]


def membership_of(names: Sequence[str], *, incarnation: int = 0) -> Membership:
    """Founding voters, seen from r1; or nobody, if it is not one of them."""
    if incarnation:
        return Membership(replica_id="r1", incarnation=incarnation, founding=Configuration())
    return Membership(replica_id="r1", founding=Configuration.of(Member(id=name) for name in names))


def vote() -> log_pb2.PeerMessage:
    return log_pb2.PeerMessage(vote_granted=log_pb2.VoteGranted())


def request_vote(*, last_index: int, last_term: int) -> log_pb2.PeerMessage:
    request = log_pb2.RequestVote(last_log_index=last_index, last_log_term=last_term)
    return log_pb2.PeerMessage(request_vote=request)


def append(
    *terms: int,
    prev: int = 1,
    prev_term: int = 0,
    commit: int = 1,
    sequence: int = 1,
    command: bytes = b"\0new",
) -> log_pb2.PeerMessage:
    """AppendEntries with entries of these terms behind the entry `prev`."""
    entries = [
        log_pb2.Entry(index=prev + 1 + offset, term=term, command=command)
        for offset, term in enumerate(terms)
    ]
    return log_pb2.PeerMessage(
        append_entries=log_pb2.AppendEntries(
            sequence=sequence,
            commit_index=commit,
            prev_log_index=prev,
            prev_log_term=prev_term,
            entries=entries,
        )
    )


def ack(next_index: int, *, sequence: int = 1) -> log_pb2.PeerMessage:
    acknowledgement = log_pb2.AppendAck(sequence=sequence, next_index=next_index, success=True)
    return log_pb2.PeerMessage(append_ack=acknowledgement)


def rejection(next_index: int, *, sequence: int = 1) -> log_pb2.PeerMessage:
    refusal = log_pb2.AppendAck(sequence=sequence, next_index=next_index, reset=True)
    return log_pb2.PeerMessage(append_ack=refusal)


def virtual(test: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """Run an async test on virtual time; one that waits for ever fails."""

    async def in_time(*args: Any, **kwargs: Any) -> T:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await test(*args, **kwargs)

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> T:
        return run_virtual(lambda: in_time(*args, **kwargs))

    return run
