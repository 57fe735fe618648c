"""Drives one replica's consensus engine from an event loop.

The engine is ticked when a message came, when something was proposed, and when a deadline is due.
Everything runs on the loop's thread. Any exception in here is fatal for the replica (invariant 1):
it is reported once through `on_fatal`, and nothing is done or acknowledged after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from h9s._pb import log_pb2
from h9s.clock import Clock
from h9s.errors import TimeoutExpiredError, UnavailableError
from h9s.raft.engine import Engine, EngineHost
from h9s.raft.guard import GuardedTransport
from h9s.raft.install import SnapshotInstaller
from h9s.raft.journal import Journal
from h9s.raft.pre_vote import PreVote
from h9s.raft.read_index import ReadIndex
from h9s.raft.settings import RaftSettings
from h9s.raft.versions import FeatureLevels, PeerHello

log = logging.getLogger(__name__)

#: Turns of the event loop in which answers and new writes go first.
_TURNS_BEFORE_ANNOUNCEMENT = 3


class LinkHandler(Protocol):
    """Who gets what arrives over the links."""

    def link_objection(self, replica_id: str, hello: PeerHello) -> str:
        """Why a connection to that replica is not wanted; empty if it is."""
        ...

    def link_connected(self, replica_id: str, hello: PeerHello) -> None:
        """A connection to that replica is there."""
        ...

    def link_disconnected(self, replica_id: str) -> None:
        """It is gone, and what was under way on it may be lost."""
        ...

    def link_received(self, replica_id: str, data: bytes) -> None:
        """A message, whole, in the order it was sent."""
        ...


class Links(Protocol):
    """Connections to the other replicas. Messages keep their order while a connection lasts."""

    def start(self, handler: LinkHandler) -> None:
        """Connect, and go on doing so."""
        ...

    def send(self, replica_id: str, data: bytes) -> bool:
        """Hand a message to the connection; False if there is none. Never blocks."""
        ...


class Role(NamedTuple):
    """What a replica knows about who leads."""

    role: str
    leader_id: str
    term: int
    #: Leads, and has applied an entry of its own term.
    ready: bool


class RaftNode:
    """One replica. `machine.apply` gets every committed entry once, in order."""

    def __init__(
        self,
        *,
        replica_id: str,
        members: Sequence[str],
        journal: Journal,
        links: Links,
        machine: EngineHost,
        clock: Clock,
        rng: random.Random,
        settings: RaftSettings,
        loop: asyncio.AbstractEventLoop,
        on_role_change: Callable[[Role], None],
        on_fatal: Callable[[BaseException], None],
        agreed_level: Callable[[], int] = lambda: 1,
    ) -> None:
        self.replica_id = replica_id
        self.feature_levels = FeatureLevels(replica_id=replica_id, agreed=agreed_level)
        self.journal = journal
        self._links = links
        self._clock = clock
        self._settings = settings
        self._loop = loop
        self._on_role_change = on_role_change
        self._on_fatal = on_fatal
        self._guard = GuardedTransport(send=self.send)
        self.engine = Engine(
            replica_id=replica_id,
            members=members,
            journal=journal,
            transport_class=lambda *_: self._guard,
            host=machine,
            monotonic=clock.monotonic,
            rng=rng,
            settings=settings,
        )
        self._guard.attach(self.engine)
        self._pre_vote = PreVote(
            engine=self.engine,
            replica_id=replica_id,
            send=self.send,
            is_connected=lambda name: name in self.connected,
            monotonic=clock.monotonic,
            rng=rng,
            settings=settings,
        )
        self._read_index = ReadIndex(
            engine=self.engine,
            guard=self._guard,
            send=self.send,
            monotonic=clock.monotonic,
            create_future=loop.create_future,
            round_timeout=settings.election_timeout_max,
            first_request=rng.getrandbits(62),
        )
        #: Set by whoever keeps snapshots, before `start`.
        self.installer: SnapshotInstaller | None = None
        self.connected: set[str] = set()
        self.role = Role("follower", "", self.engine.term, ready=False)
        self._applied_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._tick_is_scheduled = False
        self._announcement_is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._must_hand_over = False
        self._handed_over: asyncio.Future[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Connect to the others and begin."""
        self._links.start(self)
        self._arm_timer()

    def stop(self) -> None:
        """Do nothing any more. What was proposed and not applied is left open."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_stopped(self) -> bool:
        """It was stopped, or had to stop."""
        return self._stopped

    def propose(self, command: bytes) -> None:
        """Append an entry if this replica leads at its next tick. Its fate shows in `machine.apply`;
        an entry of a leader that lost its term may still be applied later, or never."""
        self.engine.propose(command)
        self._wake()

    async def hand_over(self, *, timeout: float) -> None:
        """Give the leadership to a follower that has everything, and return once it is given.

        Nothing must be proposed meanwhile. Gives up after `timeout` seconds.
        """
        self._handed_over = self._loop.create_future()
        self._must_hand_over = True
        self._wake()
        try:
            async with asyncio.timeout(timeout):
                await self._handed_over
        except TimeoutError:
            log.warning("no replica took the leadership over within %g s", timeout)
        finally:
            self._handed_over = None

    def _hand_over_if_possible(self) -> None:
        last = self.engine.last_index
        if self.engine.applied_index < last:
            return
        for name in sorted(self.connected):
            if self.engine.match_index(name) == last:
                message = log_pb2.PeerMessage(term=self.engine.term)
                message.timeout_now.SetInParent()
                self._must_hand_over = not self.send(name, message)
                return

    async def read_barrier(self, *, timeout: float) -> None:
        """Return once the applied state shows everything acknowledged before the call.

        Raises UnavailableError if no leader was found within `timeout` seconds, TimeoutExpiredError
        if there is one that did not confirm in time.
        """
        waiter = self._read_index.request()
        self._wake()
        try:
            async with asyncio.timeout(timeout):
                await self._applied(await waiter)
        except TimeoutError:
            if not self.role.leader_id:
                raise UnavailableError("there is no leader: a majority of the replicas is needed") from None
            raise TimeoutExpiredError(
                f"the leader {self.role.leader_id} could not confirm within {timeout:g} s that it still leads"
            ) from None

    # --- links -------------------------------------------------------------------------------

    def cluster_level(self) -> int:
        """The feature level that every member understands."""
        return self.feature_levels.common(self.engine.members)

    def link_objection(self, replica_id: str, hello: PeerHello) -> str:
        """See `LinkHandler`."""
        return self.feature_levels.objection(replica_id, hello.feature_level)

    def link_connected(self, replica_id: str, hello: PeerHello) -> None:
        """See `LinkHandler`."""
        self.feature_levels.heard(replica_id, hello.feature_level)
        self.connected.add(replica_id)
        self._guarded(lambda: self._guard.connected(replica_id))

    def link_disconnected(self, replica_id: str) -> None:
        """See `LinkHandler`."""
        self.connected.discard(replica_id)
        self._guarded(lambda: self._disconnected(replica_id))

    def _disconnected(self, replica_id: str) -> None:
        self._guard.disconnected(replica_id)
        if self.installer is not None:
            self.installer.disconnected(replica_id)
        delay = self._pre_vote.lost_connection(replica_id)
        if delay:
            self._loop.call_later(delay, self._wake)

    def link_received(self, replica_id: str, data: bytes) -> None:
        """See `LinkHandler`."""
        self._guarded(lambda: self._receive(replica_id, log_pb2.PeerMessage.FromString(data)))

    def _receive(self, replica_id: str, message: log_pb2.PeerMessage) -> None:
        kind = message.WhichOneof("body")
        if kind == "read_index_request":
            self._read_index.answer(replica_id, message.read_index_request.request)
        elif kind == "read_index_response":
            response = message.read_index_response
            self._read_index.take_response(replica_id, response.request, response.read_index)
        elif not self._guard.receive(replica_id, message):
            return
        elif kind == "append_entries":
            self._pre_vote.heard_from_leader()
        elif kind in ("install_snapshot", "install_ack") and self.installer is not None:
            self._receive_install(self.installer, replica_id, message)
        elif kind == "pre_vote_request":
            self._pre_vote.take_request(replica_id, message)
        elif kind == "pre_vote_granted":
            self._pre_vote.take_grant(replica_id, message.pre_vote_granted)
        elif kind == "timeout_now" and replica_id == self.engine.leader_id:
            self._pre_vote.stand_now()

    def _receive_install(
        self, installer: SnapshotInstaller, replica_id: str, message: log_pb2.PeerMessage
    ) -> None:
        self.engine.observe_term(message.term)
        if self.engine.is_leader:
            installer.take_ack(replica_id, message.install_ack)
        elif message.HasField("install_snapshot") and self.engine.leader_id in ("", replica_id):
            self._pre_vote.heard_from_leader()
            installer.take_part(replica_id, message.install_snapshot)

    def send(self, replica_id: str, message: log_pb2.PeerMessage) -> bool:
        """Send a message once it shows nothing that is not on disk; False if it cannot be sent."""
        if self._stopped:
            return False
        if self.journal.hard_state_is_dirty:
            self.journal.sync()
        return self._links.send(replica_id, message.SerializeToString())

    # --- ticking -----------------------------------------------------------------------------

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._stopped:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the replica must not go on
            self.stop()
            self._on_fatal(error)
            return
        self._wake()

    def _wake(self) -> None:
        if not self._tick_is_scheduled and not self._stopped:
            self._tick_is_scheduled = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._tick_is_scheduled = False
        if self._stopped:
            return
        try:
            was_candidate = self.engine.role == "candidate"
            self.engine.tick(may_stand=self._pre_vote.before_tick())
            self._pre_vote.after_tick(was_candidate=was_candidate)
            if self.engine.is_leader:
                # While the followers write theirs; the copy counts from `setRaftCommitIndex` on.
                self.journal.sync()
                if self._must_hand_over:
                    self._hand_over_if_possible()
            elif self._handed_over is not None and not self._handed_over.done():
                self._handed_over.set_result(None)
            self._read_index.advance()
            self._release_applied()
            self._observe_role()
        except Exception as error:  # noqa: BLE001 - see `_guarded`
            self.stop()
            self._on_fatal(error)
            return
        if self.engine.commit_is_unannounced and not self._announcement_is_scheduled:
            self._announcement_is_scheduled = True
            self._loop.call_soon(self._announce_commit, _TURNS_BEFORE_ANNOUNCEMENT)
        if self._has_work_left():
            self._wake()

    def _announce_commit(self, turns: int) -> None:
        """After the writers have their answers; by then new entries may have told the followers."""
        if turns and not self._stopped:
            self._loop.call_soon(self._announce_commit, turns - 1)
            return
        self._announcement_is_scheduled = False
        self._guarded(self.engine.announce_commit)

    def _has_work_left(self) -> bool:
        """A lone replica commits what it appended only at its next tick: nobody will answer."""
        engine = self.engine
        return not engine.others and engine.applied_index < engine.last_index and engine.is_leader

    def _arm_timer(self) -> None:
        """Look again at the next deadline, and at least once per heartbeat."""
        now = self._clock.monotonic()
        wait = min(self.engine.next_deadline() - now, self._settings.heartbeat_interval)
        expected = now + max(wait, 0.001)
        self._timer = self._loop.call_later(max(wait, 0.001), self._on_timer, expected)

    def _on_timer(self, expected: float) -> None:
        if self._stopped:
            return
        late = self._clock.monotonic() - expected
        if late > self._settings.election_timeout_min / 2 and not self.engine.is_leader:
            self.engine.postpone_election()
        self._tick()
        if not self._stopped:
            self._arm_timer()

    # --- what others wait for ----------------------------------------------------------------

    async def _applied(self, index: int) -> None:
        if self.engine.applied_index >= index:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._applied_waiters.append((index, future))
        await future

    def _release_applied(self) -> None:
        if not self._applied_waiters:
            return
        applied = self.engine.applied_index
        left = []
        for index, future in self._applied_waiters:
            if future.done():
                continue
            if index <= applied:
                future.set_result(None)
            else:
                left.append((index, future))
        self._applied_waiters = left

    def _observe_role(self) -> None:
        engine = self.engine
        opened = engine.own_term_index
        ready = engine.is_leader and opened is not None and engine.applied_index >= opened
        role = Role(engine.role, engine.leader_id, engine.term, ready)
        if role != self.role:
            self.role = role
            self._on_role_change(role)
