"""Drives one replica's consensus engine from an event loop.

The engine is ticked when a message came, when something was proposed, and when a deadline is due.
Everything runs on the loop's thread. Any exception in here is fatal for the replica (invariant 1):
it is reported once through `on_fatal`, and nothing is done or acknowledged after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from h9s._pb import log_pb2
from h9s.clock import Clock
from h9s.errors import TimeoutExpiredError, UnavailableError
from h9s.raft.engine import Engine, EngineHost
from h9s.raft.guard import GuardedTransport
from h9s.raft.hand_over import HandOver
from h9s.raft.install import SnapshotInstaller
from h9s.raft.journal import Journal
from h9s.raft.link_protocol import Links
from h9s.raft.membership import Membership
from h9s.raft.peers import Peers
from h9s.raft.pre_vote import PreVote
from h9s.raft.read_index import ReadIndex
from h9s.raft.reconfiguration import Reconfiguration
from h9s.raft.settings import RaftSettings
from h9s.raft.versions import FeatureLevels, PeerHello

log = logging.getLogger(__name__)

#: Turns of the event loop in which answers and new writes go first.
_TURNS_BEFORE_ANNOUNCEMENT = 3


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
        membership: Membership,
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
        seeds: Mapping[str, str] | None = None,
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
        self.membership = membership
        self.peers = Peers(membership=membership, links=links, seeds=seeds or {})
        self._guard = GuardedTransport(send=self.send, membership=membership)
        self.engine = Engine(
            replica_id=replica_id,
            members=membership.effective.voters,
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
        self.hand_over = HandOver(
            engine=self.engine,
            send=self.send,
            is_connected=lambda name: name in self.connected,
            wake=self._wake,
            create_future=loop.create_future,
        )
        #: Set by whoever keeps snapshots, and by who changes members, before `start`.
        self.installer: SnapshotInstaller | None = None
        self.reconfiguration: Reconfiguration | None = None
        self.role = Role("follower", "", self.engine.term, ready=False)
        self._applied_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._tick_is_scheduled = False
        self._announcement_is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        membership.on_change = self._members_changed
        self._members_changed()

    def start(self) -> None:
        """Connect to the others and begin."""
        self.journal.observer = self.membership
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

    def propose_configuration(self, encoded: bytes) -> None:
        """Like `propose`, for an entry that says who takes part."""
        self.engine.propose_configuration(encoded)
        self._wake()

    @property
    def connected(self) -> Collection[str]:
        """The replicas to which there is a connection."""
        return self.peers.hellos.keys()

    def _members_changed(self) -> None:
        """Another configuration is in effect, or the first one."""
        membership = self.membership
        voters = set(membership.effective.voters)
        if not membership.is_voter:
            voters.discard(self.replica_id)
        self.engine.configure(
            voters=voters, learners=membership.effective.learners, renewed=self.peers.reincarnated()
        )
        self.peers.update()

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

    def cluster_level(self) -> int:
        """The feature level that every member understands."""
        return self.feature_levels.common(member.id for member in self.membership.effective.members)

    # --- links -------------------------------------------------------------------------------

    def link_objection(self, replica_id: str, hello: PeerHello) -> str:
        """See `LinkHandler`."""
        return self.feature_levels.objection(replica_id, hello.feature_level)

    def link_connected(self, replica_id: str, hello: PeerHello) -> None:
        """See `LinkHandler`."""
        self.feature_levels.heard(replica_id, hello.feature_level)
        self.peers.connected(replica_id, hello)
        self._guarded(lambda: self._guard.connected(replica_id))

    def link_disconnected(self, replica_id: str) -> None:
        """See `LinkHandler`."""
        self.peers.disconnected(replica_id)
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
        elif kind == "not_member" and self.reconfiguration is not None:
            self.reconfiguration.take_not_member(replica_id, message.not_member)
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
        message.sender_incarnation = self.membership.incarnation
        message.recipient_incarnation = self.membership.incarnation_of(replica_id)
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
            self.hand_over.advance()
            self._read_index.advance()
            self._release_applied()
            self._observe_role()
            if self.reconfiguration is not None:
                self.reconfiguration.advance()
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
        # A replica that rests says so in its journal: damage to the last batch is then told as such.
        self._guarded(self.journal.mark)
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
