"""Replicas of the real store on made-up disks and network: started, crashed, watched.

Everything that a replica applies is compared with what the others applied, at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from h9s.clock import LoopClock
from h9s.raft.archiving import HistorySettings
from h9s.raft.disk_space import DiskSpace
from h9s.raft.errors import JournalCorruptError, JournalError, RemovedError, SnapshotCorruptError
from h9s.raft.journal import Journal, TornTail
from h9s.raft.journal_recovery import vouched_bytes
from h9s.raft.node import RaftNode
from h9s.raft.reconfiguration import describe
from h9s.raft.replicated_store import ReplicaAddress, ReplicatedStore, StoreSettings
from h9s.raft.settings import RaftSettings
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.versions import PeerHello
from h9s.sim.disk import SimDisk
from h9s.sim.network import SimNetwork
from h9s.sim.past_checks import Chronicle, SimArchive
from h9s.sim.witness import Witness
from h9s.store.protocol import Leadership


class SimulationFailure(AssertionError):  # noqa: N818 - a finding, not an error of the code that raises it
    """An invariant does not hold."""


#: The wall time when a life begins, in seconds since 1970.
EPOCH = 1_700_000_000.0
_RESERVE_BYTES = 1 << 20
#: Lines that are kept.
TRACE_LENGTH = 400


class Trace:
    """The last things that happened, for whoever has to find out why."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, lines: deque[str] | None = None) -> None:
        self._loop = loop
        self.lines = deque(maxlen=TRACE_LENGTH) if lines is None else lines

    def __call__(self, line: str) -> None:
        """Note one line."""
        self.lines.append(f"{self._loop.time():9.4f}  {line}")


class ObservedStore(ReplicatedStore):
    """A store that shows what it applies."""

    observer: SimReplicas

    def apply(self, index: int, command: bytes) -> None:
        """See `ReplicatedStore.apply`."""
        self.observer.applied(self.replica_id, index, command)
        before = self.revision
        super().apply(index, command)
        records = self.machine.history.after(before)
        self.observer.chronicle.applied(self.replica_id, records)
        self.observer.witness.applied(self.replica_id, records)


class _UncertainClock(LoopClock):
    """The wall clock of a machine that is wrong by so many seconds, which may change."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offsets: Mapping[str, float], name: str) -> None:
        super().__init__(loop, epoch=EPOCH)
        self._offsets = offsets
        self._name = name

    def wall(self) -> float:
        """See `Clock.wall`."""
        return super().wall() + self._offsets[self._name]


class SimReplicas:
    """A cluster of replicas. `failures` is empty as long as all invariants hold.

    Settings that are not given are the seed's choice.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        rng: random.Random,
        loop: asyncio.AbstractEventLoop,
        latency: float,
        datagrams: bool = False,
        trace: Trace | None = None,
        raft_settings: RaftSettings | None = None,
        store_settings: StoreSettings | None = None,
    ) -> None:
        self.names = list(names)
        self._founders = tuple(names)
        self.loop = loop
        self.trace = trace or Trace(loop)
        self.network = SimNetwork(names, rng=rng, loop=loop, latency=latency, datagrams=datagrams)
        self.stores: dict[str, ObservedStore] = {}
        self.failures: list[str] = []
        self.witness = Witness()
        self.torn_tails = 0
        #: Who may be removed, because somebody asked for it; and who has stopped because of that.
        self.dismissed: set[str] = set()
        self.retired: set[str] = set()
        #: Told of every change of a replica's role, after the checks.
        self.on_role_change: Callable[[str, Leadership], None] = lambda name, leadership: None
        self._rng = rng
        self._disks = {name: SimDisk(rng, on_sync=partial(self._synced, name)) for name in names}
        self._archives = {name: SimArchive(self._disks[name]) for name in names}
        self.may_lose_archives = True
        self.chronicle = Chronicle(self.fail)
        #: Whose disks are nearly full.
        self._full_disks: set[str] = set()
        #: The longest that a sync takes, in seconds.
        self.sync_seconds = dict.fromkeys(names, 0.0)
        #: Which life of its disk each one is in.
        self.incarnations = dict.fromkeys(names, 0)
        #: Who lost its disk last, and the newest configuration then.
        self._loss: tuple[str, int] | None = None
        self._clock_offsets = {name: rng.uniform(-0.2, 0.2) for name in names}
        #: Index -> the command that the first replica to apply it applied.
        self._agreed: dict[int, bytes] = {}
        self._leaders: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Who gets no processor time, and the timer that will be overdue.
        self._paused: dict[str, Callable[[], None]] = {}
        self._segment_bytes = rng.choice((600, 2_000, 20_000, 1 << 20))
        self._raft_settings = raft_settings or _raft_settings(rng, latency)
        self._store_settings = store_settings or _store_settings(rng)

    @property
    def alive(self) -> list[str]:
        """The replicas that run, by name."""
        return sorted(self.stores)

    @property
    def responsive(self) -> list[str]:
        """Those of them that get processor time."""
        return [name for name in self.alive if name not in self._paused]

    async def start(self, name: str) -> None:
        """Start a replica from what its disk holds."""
        journal = Journal(
            self._disks[name],
            identity=f"sim/{name}",
            segment_bytes=self._segment_bytes,
            on_torn_tail=self._tail_was_torn,
        )
        store = ObservedStore(
            cluster_id="sim",
            replica_id=name,
            addresses={other: ReplicaAddress(other, other) for other in {*self._founders, name}},
            journal=journal,
            snapshots=SnapshotFiles(self._disks[name], identity="sim"),
            run_off_loop=self._run_off_loop,
            links=self.network.links_of(name),
            clock=_UncertainClock(self.loop, self._clock_offsets, name),
            rng=random.Random(self._rng.getrandbits(64)),
            loop=self.loop,
            on_fatal=lambda error: self._stopped(name, error),
            open_archive=lambda: self._archives[name],
            incarnation=self.incarnations[name],
            raft=self._raft_settings,
            settings=self._store_settings,
            disk=DiskSpace(
                free_bytes=lambda: 0 if name in self._full_disks else 2 * _RESERVE_BYTES,
                reserve_bytes=_RESERVE_BYTES,
                monotonic=self.loop.time,
            ),
        )
        store.observer = self
        tell = store.membership.on_change
        store.membership.on_change = lambda: self._configured(name, tell)
        store.on_leadership_change(lambda leadership: self._leadership_changed(name, leadership))
        self.stores[name] = store
        self.trace(f"{name} starts with {len(journal)} entries in term {journal.getCurrentTerm()}")
        await store.start()

    async def _run_off_loop(self, work: Callable[[], object]) -> object:
        """What would run in a thread takes some virtual time."""
        await asyncio.sleep(self._rng.uniform(0.0, 0.2))
        return work()

    def set_clock(self, name: str, *, seconds_ahead: float) -> None:
        """The replica's wall clock jumps; its monotonic one does not."""
        self.trace(f"the clock of {name} is {seconds_ahead:+.1f} s off")
        self._clock_offsets[name] = seconds_ahead

    async def crash(self, name: str) -> None:
        """Kill a replica; what it had not synced is lost."""
        self.trace(f"{name} crashes")
        store = self.stores.pop(name)
        self._paused.pop(name, None)
        self.network.detach(name)
        await store.stop(hand_over=False)
        self._disks[name].crash()
        if self.may_lose_archives and self._rng.random() < 0.1:
            self._archives[name] = SimArchive(self._disks[name])

    @property
    def all_have_their_data(self) -> bool:
        """Whether the last replica that lost its disk takes part with the new one, or not at all."""
        if self._loss is None:
            return True
        lost, newest = self._loss
        return any(self._has_recovered(store, lost, newest) for store in self.stores.values())

    def _has_recovered(self, store: ReplicatedStore, lost: str, newest: int) -> bool:
        index, configuration = store.membership.at(store.node.engine.commit_index)
        member = configuration.get(lost)
        if member is None:
            return index > newest
        return member.incarnation == self.incarnations[lost] and not member.promote

    def may_lose(self, name: str) -> bool:
        """Whether the members are sure to do without the replica's disk: no other is lost, none is down,
        no change is under way, and the others are a majority."""
        if not self.all_have_their_data or len(self.ready_leaders()) != 1:
            return False
        leader = self.stores[self.ready_leaders()[0]]
        configuration = leader.membership.effective
        if self.unsettled(leader.replica_id) or not configuration.get(name):
            return False
        if any(self.stores[m.id].membership.effective != configuration for m in configuration.members):
            return False
        others = set(configuration.voters) - {name}
        return 2 * len(others) > len(configuration.voters)

    async def wipe(self, name: str) -> None:
        """The replica loses its disk, and comes back with an empty one, as somebody else."""
        self._loss = name, max((store.membership.index for store in self.stores.values()), default=0)
        if name in self.stores:
            await self.crash(name)
        if self._rng.random() < 0.5:
            self._damage(name)
        self.trace(f"{name} loses its disk")
        self._disks[name] = SimDisk(self._rng, on_sync=partial(self._synced, name))
        self._archives[name] = SimArchive(self._disks[name])
        self.incarnations[name] = self._rng.getrandbits(62) + 1
        self.network.hellos[name] = self.network.hellos[name]._replace(incarnation=self.incarnations[name])
        await self.start(name)

    def _damage(self, name: str) -> None:
        """One byte of what the replica had synced turns over: that has to be noticed at its next start."""
        place = self._disks[name].damage(vouched_bytes)
        if not place:
            return
        self.trace(f"{name}'s disk is damaged: {place}")
        try:
            Journal(self._disks[name], identity=f"sim/{name}", segment_bytes=self._segment_bytes)
            SnapshotFiles(self._disks[name], identity="sim").verify()
        except (JournalCorruptError, SnapshotCorruptError) as error:
            self.trace(f"{name} notices: {error.message}")
        else:
            self.fail(f"{name} does not notice that its disk is damaged: {place}")

    def enroll(self, name: str) -> None:
        """A further replica, with an empty disk; `start` it, and let the leader add it."""
        self.names.append(name)
        self._disks[name] = SimDisk(self._rng, on_sync=partial(self._synced, name))
        self._archives[name] = SimArchive(self._disks[name])
        self.sync_seconds[name] = 0.0
        self._clock_offsets[name] = self._rng.uniform(-0.2, 0.2)
        self.incarnations[name] = self._rng.getrandbits(62) + 1
        self.network.enroll(name, PeerHello(peer_address=name, incarnation=self.incarnations[name]))

    async def _retire(self, name: str) -> None:
        """It was removed: it runs no more, and is not missed."""
        self.trace(f"{name} was removed, and stops")
        self.names.remove(name)
        self.retired.add(name)
        if name in self.stores:
            await self.crash(name)

    async def leave(self, name: str) -> None:
        """Stop a replica in an orderly way: it hands its leadership over."""
        self.trace(f"{name} leaves")
        store = self.stores[name]
        await store.stop()
        if self.stores.get(name) is store:
            del self.stores[name]
            self._paused.pop(name, None)
            self.network.detach(name)
            self._disks[name].crash()

    def pause(self, name: str, *, seconds: float) -> None:
        """The replica gets no processor time for a while, as by SIGSTOP; its clock goes on."""
        if name in self._paused:
            return
        self.trace(f"{name} gets no time for {seconds:.2f} s")
        self.network.hold(name)
        self._paused[name] = timer = _suspend(self.stores[name].node)
        self.loop.call_later(seconds, self._resume, name, timer)

    def _resume(self, name: str, timer: Callable[[], None]) -> None:
        """What has come and what is overdue are found in either order."""
        if self._paused.get(name) is not timer:
            return
        self.trace(f"{name} wakes")
        del self._paused[name]
        late: list[Callable[[], None]] = [timer, partial(self.network.release, name)]
        self._rng.shuffle(late)
        for event in late:
            event()

    async def heal(self, *, latency: float) -> None:
        """Make everything work again, and start who is down."""
        self.network.heal(latency=latency)
        self._full_disks.clear()
        self.sync_seconds = dict.fromkeys(self.names, 0.0)
        for name, timer in list(self._paused.items()):
            self._resume(name, timer)
        for name in self.names:
            self._disks[name].is_failing = False
            if name not in self.stores:
                await self.start(name)

    def crash_soon(self, name: str, *, down_seconds: float) -> None:
        """Kill a replica as soon as what is being done is done, and start it again after a while."""
        if name in self.stores:
            self._do(self._crash_for(name, down_seconds))

    def fill_disk(self, name: str, *, full: bool) -> None:
        """Leave less than the reserve on the replica's disk, or give the space back."""
        self.trace(f"{name}'s disk {'is nearly full' if full else 'has space'}")
        if full:
            self._full_disks.add(name)
        else:
            self._full_disks.discard(name)

    def fail_disk(self, name: str) -> None:
        """The replica's next sync fails: it has to stop at once."""
        self.trace(f"{name}'s disk fails from now on")
        self._disks[name].is_failing = True

    async def _crash_for(self, name: str, down_seconds: float) -> None:
        if name in self.stores:
            await self.crash(name)
        await asyncio.sleep(down_seconds)
        if name in self.names and name not in self.stores:
            await self.start(name)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.fail(f"a replica could not be stopped or started: {task.exception()!r}")

    def _stopped(self, name: str, error: BaseException) -> None:
        """A replica gave up. That is right if its disk failed, and a finding if not."""
        if isinstance(error, RemovedError) and name in self.dismissed and self._is_retired(name):
            self._do(self._retire(name))
        elif isinstance(error, JournalError) and self._disks[name].is_failing:
            self.crash_soon(name, down_seconds=self._rng.uniform(0.0, 1.0))
        else:
            self.fail(f"{name} stopped: {error!r}")

    def _synced(self, name: str) -> None:
        if self.sync_seconds[name]:
            self.network.stall(name, self._rng.uniform(0.0, self.sync_seconds[name]))

    def _tail_was_torn(self, torn: TornTail) -> None:
        self.torn_tails += 1
        self.trace(f"dropped a torn tail of {torn.dropped_bytes} bytes")

    def ready_leaders(self) -> list[str]:
        """Who believes to lead and may serve writes."""
        return [name for name in self.alive if self.stores[name].leadership().ready]

    # --- checks ------------------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """Note a broken invariant."""
        self.trace(f"FAILED: {reason}")
        self.failures.append(reason)

    def applied(self, name: str, index: int, command: bytes) -> None:
        """Compare with what the others applied at this index."""
        agreed = self._agreed.setdefault(index, command)
        if agreed != command:
            self.fail(f"{name} applied another command than the others at index {index}")

    def _configured(self, name: str, tell: Callable[[], None]) -> None:
        """Never are two changes of the members under way, and never does one change two voters."""
        tell()
        store = self.stores[name]
        changes = store.membership.changes
        self.trace(f"{name} has the configuration {store.membership.index}: {describe(changes[-1][1])}")
        committed = store.node.engine.commit_index
        if store.node.engine.is_leader and sum(index > committed for index, _ in changes) > 1:
            self.fail(f"{name} changes the members while a change is under way")
        for (_, before), (index, after) in pairwise(changes):
            if before.members and len(before.voting_lives ^ after.voting_lives) > 1:
                self.fail(f"{name} changes more than one voter with the configuration {index}")

    def _leadership_changed(self, name: str, leadership: Leadership) -> None:
        self.trace(f"{name} is {leadership.role} in term {leadership.term}, leader {leadership.leader_id}")
        if leadership.role == "leader" and self._leaders.setdefault(leadership.term, name) != name:
            self.fail(
                f"{name} and {self._leaders[leadership.term]} were both elected in term {leadership.term}"
            )
        self.on_role_change(name, leadership)

    def members(self) -> list[str]:
        """Who takes part, as the leader says; everybody while nobody or more than one leads."""
        leaders = self.ready_leaders()
        if len(leaders) != 1:
            return sorted(self.names)
        return [member.id for member in self.stores[leaders[0]].membership.effective.members]

    def _is_retired(self, name: str) -> bool:
        """Whether a committed configuration says so."""
        return any(
            (name, self.incarnations[name]) in store.membership.at(store.node.engine.commit_index)[1].retired
            for store in self.stores.values()
        )

    def unsettled(self, leader: str) -> str:
        """What is still to be done about the members; empty if nothing is."""
        store = self.stores[leader]
        membership = store.membership
        if membership.index > store.node.engine.commit_index:
            return f"the configuration {membership.index} is not committed"
        for member in membership.effective.members:
            if member.promote:
                return f"{member.id} has not caught up"
            if member.id not in self.stores:
                return f"the member {member.id} does not run"
            if member.voter and member.incarnation != self.incarnations[member.id]:
                return f"{member.id} has lost its data, and is a voter"
        retired = membership.effective.retired
        staying = [name for name in self.alive if (name, self.incarnations[name]) in retired]
        return f"{staying} were removed, and do not stop" if staying else ""

    def disagreement(self) -> str:
        """What keeps the members from being equal; empty if nothing does."""
        if self.alive != sorted(self.names):
            return f"only {self.alive} are up"
        if len(self.ready_leaders()) != 1:
            return f"{self.ready_leaders()} lead"
        members = self.members()
        unsettled = self.unsettled(self.ready_leaders()[0])
        if unsettled:
            return unsettled
        engines = {name: self.stores[name].node.engine for name in members}
        positions = {
            name: (engine.last_index, engine.commit_index, engine.applied_index)
            for name, engine in engines.items()
        }
        if len({index for position in positions.values() for index in position}) != 1:
            return f"(last, committed, applied) differ: {positions}"
        if len({self.stores[name].machine.state_hash() for name in members}) != 1:
            return "the state hashes differ"
        return ""


def _suspend(node: RaftNode) -> Callable[[], None]:
    """Take the node's timer away; call the result to let it fire, late."""
    timer = node._timer
    assert timer is not None
    timer.cancel()
    return partial(node._on_timer, timer.when())


def _raft_settings(rng: random.Random, latency: float) -> RaftSettings:
    """Timeouts that fit the latency, and sizes small enough to need several messages."""
    shortest = max(0.15, 3.0 * latency)
    # A narrow range makes replicas stand at the same time.
    longest = shortest * (rng.choice((1.1, 2.0)) if latency < 0.1 else 2.0)
    return RaftSettings(
        election_timeout_min=shortest,
        election_timeout_max=longest,
        heartbeat_interval=shortest / 4,
        # A long one leaves a deposed leader believing in itself: its reads must not be believed.
        leader_fallback=rng.choice((2, 8)) * shortest,
        max_message_bytes=rng.choice((100, 1_000, 256 << 10)),
        # A small window serves one message a round trip: on a slow link nobody would ever catch up.
        max_in_flight_bytes=rng.choice((2_000 if latency < 0.01 else 50_000, 2 << 20)),
    )


def _store_settings(rng: random.Random) -> StoreSettings:
    """Entries one by one, in groups, or several under way at once; a history that is soon compacted."""
    entries_in_flight, max_group = rng.choice(((1, 1000), (2, 4), (8, 1)))
    return StoreSettings(
        compaction_interval=1.0,
        history=HistorySettings(
            max_age=rng.choice((4.0, 60.0)),
            max_bytes=rng.choice((20_000, 512 << 20)),
            recent_max_bytes=rng.choice((0, 4_000, 1 << 20)),
            recent_max_age=rng.choice((0.5, 4.0)),
            unarchived_max_age=4.0,
            interval=rng.choice((0.2, 1.0)),
            batch_min_bytes=rng.choice((1, 4_000)),
            batch_max_age=1.0,
        ),
        max_entries_in_flight=entries_in_flight,
        max_group=max_group,
        snapshot_min_entries=rng.choice((5, 40, 1_000_000)),
    )
