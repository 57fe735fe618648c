"""Replicas of the real store on made-up disks and network: started, crashed, watched.

Everything that a replica applies is compared with what the others applied, at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

from h9s.clock import LoopClock
from h9s.raft.journal import Journal
from h9s.raft.replicated_store import ReplicaAddress, ReplicatedStore, StoreSettings
from h9s.raft.settings import RaftSettings
from h9s.sim.disk import SimDisk
from h9s.sim.network import SimNetwork
from h9s.store.protocol import Leadership


class SimulationFailure(AssertionError):  # noqa: N818 - a finding, not an error of the code that raises it
    """An invariant does not hold."""


class Trace:
    """The last things that happened, for whoever has to find out why."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, length: int = 400) -> None:
        self._loop = loop
        self.lines: deque[str] = deque(maxlen=length)

    def __call__(self, line: str) -> None:
        """Note one line."""
        self.lines.append(f"{self._loop.time():9.4f}  {line}")


class ObservedStore(ReplicatedStore):
    """A store that shows what it applies."""

    observer: SimReplicas

    def apply(self, index: int, command: bytes) -> None:
        """See `ReplicatedStore.apply`."""
        self.observer.applied(self.replica_id, index, command)
        super().apply(index, command)


class SimReplicas:
    """A cluster of replicas. `failures` is empty as long as all invariants hold."""

    def __init__(
        self, names: Sequence[str], *, rng: random.Random, loop: asyncio.AbstractEventLoop, latency: float
    ) -> None:
        self.names = list(names)
        self.loop = loop
        self.trace = Trace(loop)
        self.network = SimNetwork(names, rng=rng, loop=loop, latency=latency)
        self.stores: dict[str, ObservedStore] = {}
        self.failures: list[str] = []
        self._rng = rng
        self._disks = {name: SimDisk(rng) for name in names}
        self._clock_offsets = {name: rng.uniform(-0.2, 0.2) for name in names}
        #: Index -> the command that the first replica to apply it applied.
        self._agreed: dict[int, bytes] = {}
        self._leaders: dict[int, str] = {}
        self._segment_bytes = rng.choice((2_000, 20_000, 1 << 20))
        self._settings = _raft_settings(rng, latency)

    @property
    def alive(self) -> list[str]:
        """The replicas that run, by name."""
        return sorted(self.stores)

    async def start(self, name: str) -> None:
        """Start a replica from what its disk holds."""
        journal = Journal(self._disks[name], identity=f"sim/{name}", segment_bytes=self._segment_bytes)
        store = ObservedStore(
            cluster_id="sim",
            replica_id=name,
            addresses={other: ReplicaAddress(other, other) for other in self.names},
            journal=journal,
            links=self.network.links_of(name),
            clock=LoopClock(self.loop, epoch=1_700_000_000.0 + self._clock_offsets[name]),
            rng=random.Random(self._rng.getrandbits(64)),
            loop=self.loop,
            on_fatal=lambda error: self.fail(f"{name} stopped: {error!r}"),
            raft=self._settings,
            settings=StoreSettings(compaction_interval=1.0, history_max_age=4.0),
        )
        store.observer = self
        store.on_leadership_change(lambda leadership: self._leadership_changed(name, leadership))
        self.stores[name] = store
        self.trace(f"{name} starts with {len(journal)} entries in term {journal.getCurrentTerm()}")
        await store.start()

    async def crash(self, name: str) -> None:
        """Kill a replica; what it had not synced is lost."""
        self.trace(f"{name} crashes")
        store = self.stores.pop(name)
        self.network.detach(name)
        await store.stop()
        self._disks[name].crash()

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

    def _leadership_changed(self, name: str, leadership: Leadership) -> None:
        self.trace(f"{name} is {leadership.role} in term {leadership.term}, leader {leadership.leader_id}")
        if leadership.ready and self._leaders.setdefault(leadership.term, name) != name:
            self.fail(f"{name} and {self._leaders[leadership.term]} both committed in term {leadership.term}")

    def disagreement(self) -> str:
        """What keeps the replicas from being equal; empty if nothing does."""
        if self.alive != self.names:
            return f"only {self.alive} are up"
        if len(self.ready_leaders()) != 1:
            return f"{self.ready_leaders()} lead"
        engines = {name: self.stores[name].node.engine for name in self.names}
        positions = {
            name: (engine.last_index, engine.commit_index, engine.applied_index)
            for name, engine in engines.items()
        }
        if len({index for position in positions.values() for index in position}) != 1:
            return f"(last, committed, applied) differ: {positions}"
        if len({self.stores[name].machine.state_hash() for name in self.names}) != 1:
            return "the state hashes differ"
        return ""


def _raft_settings(rng: random.Random, latency: float) -> RaftSettings:
    """Timeouts that fit the latency, and sizes small enough to need several messages."""
    shortest = max(0.15, 3.0 * latency)
    return RaftSettings(
        election_timeout_min=shortest,
        election_timeout_max=2 * shortest,
        heartbeat_interval=shortest / 4,
        leader_fallback=2 * shortest,
        max_message_bytes=rng.choice((100, 1_000, 256 << 10)),
        max_in_flight_bytes=rng.choice((50_000, 2 << 20)),
    )
