"""The replicated store: the state machine on top of Raft. Implements `h9s.store.protocol.Store`."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from h9s._pb import cluster_pb2, log_pb2
from h9s.clock import Clock
from h9s.errors import NotLeaderError, TimeoutExpiredError, UnavailableError
from h9s.raft.administration import Administration
from h9s.raft.archiving import Archiving, HistorySettings
from h9s.raft.configuration import Configuration, Member
from h9s.raft.disk_space import DiskSpace
from h9s.raft.errors import RemovedError, SafetyError
from h9s.raft.group_commit import GroupCommit
from h9s.raft.history_archive import HistoryArchive
from h9s.raft.install import RunOffLoop, SnapshotInstaller
from h9s.raft.journal import Journal
from h9s.raft.link_protocol import Links
from h9s.raft.loading import load
from h9s.raft.membership import Membership
from h9s.raft.metrics import APPLIED_ENTRIES, LEADER_CHANGES
from h9s.raft.node import RaftNode, Role
from h9s.raft.reconfiguration import Reconfiguration
from h9s.raft.settings import RaftSettings
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.snapshotting import Snapshotting
from h9s.raft.status import status_of
from h9s.raft.usage import publish, usage_of
from h9s.raft.versions import AUTHORS_LEVEL, FEATURE_LEVEL, PeerHello
from h9s.store.model import Change, Outcome
from h9s.store.past import Past
from h9s.store.protocol import Leadership, View
from h9s.store.snapshot import StateSnapshot
from h9s.store.state_machine import FORMAT_VERSION, StateMachine

T = TypeVar("T")

log = logging.getLogger(__name__)

#: How long a leader that shuts down waits for a follower to take over.
_HAND_OVER_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Limits of the store. Sizes in bytes, times in seconds."""

    max_transaction_bytes: int = 3 << 19  # 1.5 MiB
    max_pending: int = 20_000
    max_pending_bytes: int = 128 << 20
    max_group: int = 1000
    #: Entries of this proposer that are under way at once.
    max_entries_in_flight: int = 2
    history: HistorySettings = field(default_factory=HistorySettings)
    compaction_interval: float = 5.0
    #: A snapshot is taken when the log has grown by this much since the last.
    snapshot_min_entries: int = 50_000
    snapshot_min_bytes: int = 32 << 20


class ReplicaAddress(NamedTuple):
    """Where a replica is reached ("host:port" each). Its identity is its id, not this."""

    api: str
    peer: str


class ReplicatedStore:
    """One replica's store. `start` it on a running event loop; `on_fatal` is called at most once."""

    def __init__(
        self,
        *,
        cluster_id: str,
        replica_id: str,
        addresses: Mapping[str, ReplicaAddress],
        journal: Journal,
        snapshots: SnapshotFiles,
        links: Links,
        clock: Clock,
        rng: random.Random,
        loop: asyncio.AbstractEventLoop,
        on_fatal: Callable[[BaseException], None],
        incarnation: int = 0,
        on_removed: Callable[[], None] = lambda: None,
        raft: RaftSettings | None = None,
        settings: StoreSettings | None = None,
        version: str = "",
        run_off_loop: RunOffLoop | None = None,
        disk: DiskSpace | None = None,
        open_archive: Callable[[], HistoryArchive] | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.replica_id = replica_id
        self.version = version
        self._on_removed = on_removed
        self.membership = Membership(
            replica_id=replica_id,
            incarnation=incarnation,
            founding=_founding(addresses) if not incarnation else Configuration(),
        )
        self._settings = settings or StoreSettings()
        self._clock = clock
        self._loop = loop
        self._on_fatal = on_fatal
        self._disk = disk
        self._snapshots = snapshots
        self._machine = StateMachine()
        load(self._machine, snapshots=snapshots, journal=journal, membership=self.membership)
        self._background: set[asyncio.Task[None]] = set()
        self._is_leaving = False
        self._change_waiters: list[asyncio.Future[None]] = []
        self._callbacks: list[Callable[[Leadership], None]] = []
        self._compaction_timer: asyncio.TimerHandle | None = None
        self._archiving_timer: asyncio.TimerHandle | None = None
        self.node = RaftNode(
            replica_id=replica_id,
            membership=self.membership,
            journal=journal,
            links=links,
            machine=self,
            clock=clock,
            rng=rng,
            settings=raft or RaftSettings(),
            loop=loop,
            on_role_change=self._role_changed,
            on_fatal=on_fatal,
            agreed_level=lambda: self._machine.feature_level,
            seeds={name: address.peer for name, address in addresses.items()},
        )
        own = addresses[replica_id]
        self.node.reconfiguration = reconfiguration = Reconfiguration(
            engine=self.node.engine,
            membership=self.membership,
            own=PeerHello(FEATURE_LEVEL, own.api, own.peer, incarnation),
            hellos=self.node.peers.hellos,
            refusal=self._refusal,
            propose=self.node.propose_configuration,
            level=self.node.feature_levels.common,
            send=self.node.send,
            on_removed=self._removed,
            monotonic=clock.monotonic,
            interval=(raft or RaftSettings()).heartbeat_interval,
        )
        self.administration = Administration(
            reconfiguration=reconfiguration,
            membership=self.membership,
            hellos=self.node.peers.hellos,
            engine=self.node.engine,
            refusal=self._refusal,
            hand_over=self._hand_over,
        )
        self._groups = GroupCommit(
            proposer=rng.getrandbits(63),
            propose=self.node.propose,
            refusal=self._refusal,
            limits=self._settings,
            clock=clock,
            loop=loop,
        )
        self._off_loop = off_loop = run_off_loop or partial(loop.run_in_executor, None)
        self._archiving = Archiving(
            machine=self._machine,
            open_archive=open_archive,
            all_archive=lambda: self._machine.feature_level >= AUTHORS_LEVEL,
            run_off_loop=off_loop,
            clock=clock,
            settings=self._settings.history,
        )
        self._installer = SnapshotInstaller(
            engine=self.node.engine,
            files=snapshots,
            send=self.node.send,
            run_off_loop=off_loop,
            restore=self._restore,
            membership=self.membership,
            spawn=self._spawn,
            monotonic=clock.monotonic,
            patience=(raft or RaftSettings()).election_timeout_max,
        )
        self.node.installer = self._installer
        self._snapshotting = Snapshotting(
            engine=self.node.engine,
            files=snapshots,
            capture=self._machine.capture,
            membership=self.membership,
            run_off_loop=off_loop,
            min_entries=self._settings.snapshot_min_entries,
            min_bytes=self._settings.snapshot_min_bytes,
        )

    async def start(self) -> None:
        """Begin to take part."""
        self.node.start()
        self._schedule_compaction()
        self._schedule_archiving()

    async def stop(self, *, hand_over: bool = True) -> None:
        """Take no part any more; whoever waits is told that the outcome is open.

        With `hand_over` a leader finishes what is under way and gives the leadership away first.
        """
        is_orderly = hand_over and not self.node.is_stopped
        if is_orderly and self.node.role.ready and self.node.connected:
            await self._hand_over("", until_known=False)
            self._is_leaving = True
        # It may have had to stop meanwhile; then the journal is not to be touched any more.
        is_orderly = is_orderly and not self.node.is_stopped
        self.node.stop()
        if is_orderly:
            self.node.journal.mark()
        for timer in (self._compaction_timer, self._archiving_timer):
            if timer is not None:
                timer.cancel()
        self._reject_pending()
        for task in list(self._background):
            task.cancel()
        self._groups.abandon(UnavailableError("this replica is shutting down"))
        self._archiving.close()

    async def _hand_over(self, target: str, *, until_known: bool = True) -> bool:
        """Give the leadership away; whether that was possible. What is under way is finished first."""
        self._is_leaving = True
        self._reject_pending()
        try:
            return await self.node.hand_over.run(
                target=target, timeout=_HAND_OVER_SECONDS, until_known=until_known
            )
        finally:
            self._is_leaving = False

    def _removed(self, reason: str) -> None:
        """This replica takes part no more."""
        self.node.stop()
        self._on_removed()
        self._on_fatal(RemovedError(f"replica {self.replica_id} stops: {reason}"))

    # --- reading -----------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.revision

    @property
    def compact_revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.history.compact_revision

    @property
    def recent_revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.history.recent_revision

    async def look_back(self, work: Callable[[Past], T]) -> T:
        """See `protocol.Store`."""
        past = self._archiving.past
        return cast("T", await self._off_loop(lambda: work(past)))

    @property
    def machine(self) -> StateMachine:
        """The state machine, for whoever compares replicas."""
        return self._machine

    def view(self, revision: int = 0) -> View:
        """See `protocol.Store`."""
        return self._machine.view(revision)

    def changes(self, after_revision: int, *, limit: int = 1000) -> list[tuple[int, tuple[Change, ...]]]:
        """See `protocol.Store`."""
        records = self._machine.history.after(after_revision, limit=limit)
        return [(record.revision, record.changes) for record in records]

    def capture(self) -> StateSnapshot:
        """See `protocol.Store`."""
        return self._machine.capture()

    def require_current(self) -> None:
        """See `protocol.Store`."""
        has_nothing = self.membership.incarnation and not self.revision
        if has_nothing or self._installer.is_receiving:
            raise UnavailableError(f"replica {self.replica_id} is still getting the cluster's state")

    async def wait_for_change(self, after_revision: int) -> None:
        """See `protocol.Store`."""
        while self.revision <= after_revision:
            future: asyncio.Future[None] = self._loop.create_future()
            self._change_waiters.append(future)
            await future

    async def read_barrier(self, *, timeout: float) -> None:
        """See `protocol.Store`."""
        await self.node.read_barrier(timeout=timeout)

    # --- writing -----------------------------------------------------------------------------

    async def propose(self, transaction: log_pb2.Transaction, *, timeout: float) -> Outcome:
        """See `protocol.Store`."""
        future = self.submit(transaction)
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise TimeoutExpiredError(
                f"no majority confirmed the write within {timeout:g} s; it may still take effect"
            ) from None

    def submit(self, transaction: log_pb2.Transaction) -> asyncio.Future[Outcome]:
        """Like `propose`, without a deadline and without a coroutine, for those that commit in bulk."""
        self._check_disk(transaction)
        # All members know the field, or the log says so; it is not worth waiting for the log.
        if self._machine.feature_level < AUTHORS_LEVEL and self.node.cluster_level() < AUTHORS_LEVEL:
            transaction.ClearField("author")
        return self._groups.submit(transaction)

    def _check_disk(self, transaction: log_pb2.Transaction) -> None:
        """Raise DiskFullError if there is no room for it, unless it was done already."""
        if self._disk is None or not self.node.role.ready:
            return
        refusal = self._disk.refusal(transaction, self._machine.view(), replica_id=self.replica_id)
        request_id = transaction.request_id
        if refusal and self._machine.requests.recall(request_id.nonce, request_id.issued_at_ms) is None:
            raise refusal

    def _refusal(self) -> NotLeaderError | None:
        """Why nothing may be proposed here now."""
        if self._is_leaving:
            return NotLeaderError(f"replica {self.replica_id} is giving its leadership away")
        if self.node.role.ready:
            return None
        leadership = self.leadership()
        if leadership.leader_id and leadership.leader_id != self.replica_id:
            return NotLeaderError(
                f"replica {self.replica_id} does not lead, {leadership.leader_id} does",
                leader_address=leadership.leader_api_address,
            )
        return NotLeaderError(f"replica {self.replica_id} does not lead, and no leader is known yet")

    # --- applying ----------------------------------------------------------------------------

    def apply(self, index: int, command: bytes) -> None:
        """A committed entry, from the engine. Raises only if this replica has to stop."""
        entry = log_pb2.LogEntry.FromString(command)
        if entry.format_version > FORMAT_VERSION:
            raise SafetyError(
                f"log entry {index} has format {entry.format_version}; "
                f"this version knows up to {FORMAT_VERSION}"
            )
        outcomes = self._machine.apply(entry)
        APPLIED_ENTRIES.inc()
        self._groups.applied(entry, outcomes)
        self._wake_change_waiters()

    def snapshot_is_needed_by(self, name: str) -> None:
        """A follower lacks entries that were dropped, says the engine."""
        self._installer.needed_by(name)

    def _restore(self, snapshot: StateSnapshot) -> None:
        """The leader's snapshot takes the place of this replica's state."""
        self._machine.restore(snapshot)
        self._wake_change_waiters()

    def _wake_change_waiters(self) -> None:
        waiters, self._change_waiters = self._change_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- leadership --------------------------------------------------------------------------

    def leadership(self) -> Leadership:
        """See `protocol.Store`."""
        role = self.node.role
        member = self.membership.effective.get(role.leader_id)
        hello = self.node.peers.hellos.get(role.leader_id)
        address = (hello.api_address if hello else "") or (member.api_address if member else "")
        return Leadership(self.replica_id, role.role, role.leader_id, address, role.term, role.ready)

    def on_leadership_change(self, callback: Callable[[Leadership], None]) -> None:
        """See `protocol.Store`."""
        self._callbacks.append(callback)

    def _role_changed(self, role: Role) -> None:
        LEADER_CHANGES.inc()
        log.info("term %d: %s", role.term, _describe(role))
        if role.role != "leader":
            self._installer.stop_sending()
        if not role.ready:
            self._reject_pending()
            self._groups.abandon(
                UnavailableError("this replica lost its leadership; the write's outcome is open")
            )
        leadership = self.leadership()
        for callback in self._callbacks:
            callback(leadership)

    def _reject_pending(self) -> None:
        address = self.leadership().leader_api_address
        message = f"replica {self.replica_id} does not lead any more"
        self._groups.reject_pending(NotLeaderError(message, leader_address=address))

    # --- upkeep ------------------------------------------------------------------------------

    def _schedule_compaction(self) -> None:
        self._compaction_timer = self._loop.call_later(self._settings.compaction_interval, self._compact)

    def _compact(self) -> None:
        """Every replica shortens its log; the leader lets everybody forget what is too old or too much."""
        publish(self.usage())
        if self._snapshotting.is_due:
            self._spawn(self._snapshotting.take())
        if self.node.role.ready and not self._is_leaving:
            horizon = self._archiving.horizon()
            if horizon > self.compact_revision:
                self._groups.compact(horizon)
        self._schedule_compaction()

    def _schedule_archiving(self) -> None:
        self._archiving_timer = self._loop.call_later(self._settings.history.interval, self._archive)

    def _archive(self) -> None:
        level = self.node.cluster_level()
        if level > self._machine.feature_level and self._refusal() is None:
            self._groups.raise_feature_level(level)
        self._spawn(self._archiving.run())
        self._schedule_archiving()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Work beside the loop's callbacks; its failure is the replica's end."""
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.node.stop()
            self._on_fatal(error)

    def usage(self) -> cluster_pb2.Usage:
        """How much of everything that is bounded is used."""
        return usage_of(
            journal=self.node.journal,
            snapshots=self._snapshots,
            machine=self._machine,
            groups=self._groups,
            disk=self._disk,
            archiving=self._archiving,
        )

    def status(self) -> cluster_pb2.ClusterStatusResponse:
        """See `protocol.Store`."""
        return status_of(self)


def _founding(addresses: Mapping[str, ReplicaAddress]) -> Configuration:
    """The members that a cluster begins with."""
    return Configuration.of(
        Member(id=name, api_address=address.api, peer_address=address.peer)
        for name, address in addresses.items()
    )


def _describe(role: Role) -> str:
    if role.role == "leader":
        return "this replica leads" if role.ready else "this replica is elected"
    if role.role == "candidate":
        return "this replica stands for election"
    return f"this replica follows {role.leader_id}" if role.leader_id else "no leader is known"
