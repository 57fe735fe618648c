"""One simulated life of a cluster: a seed decides its size, its load, and what goes wrong when."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from h9s.sim.replicas import SimReplicas
from h9s.sim.workload import COUNTER, Acknowledged, SimClient
from h9s.testing.virtual_loop import run_virtual

FAULT_SECONDS = 20.0
#: After healing every replica must be level within this time.
CATCH_UP_SECONDS = 5.0


@dataclass(frozen=True)
class SimResult:
    """What a seed gave."""

    seed: int
    failures: tuple[str, ...]
    acknowledged: int
    reads: int
    faults: int
    messages: int
    revision: int
    trace: tuple[str, ...]


class FaultInjector:
    """Breaks and mends at random."""

    def __init__(self, replicas: SimReplicas, *, rng: random.Random) -> None:
        self._replicas = replicas
        self._rng = rng
        self.count = 0

    async def run(self, *, until: float) -> None:
        """Act every now and then until the loop's time reaches `until`."""
        pace = self._rng.choice((0.2, 0.6, 1.5))
        acts = (
            self._cut, self._mute, self._heal, self._heal, self._reset, self._slow,
            self._crash, self._restart, self._restart, self._isolate_leader, self._crash_leader,
            self._crash_all,
        )  # fmt: skip
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / pace))
            if self._replicas.loop.time() >= until:
                return
            self.count += 1
            await self._rng.choice(acts)()

    def _two(self) -> tuple[str, str]:
        first, second = self._rng.sample(self._replicas.names, 2)
        return first, second

    async def _cut(self) -> None:
        first, second = self._two()
        self._replicas.trace(f"cut {first} - {second}")
        self._replicas.network.cut(first, second)

    async def _mute(self) -> None:
        source, target = self._two()
        self._replicas.trace(f"mute {source} -> {target}")
        self._replicas.network.mute(source, target)

    async def _heal(self) -> None:
        first, second = self._two()
        self._replicas.network.heal_one(first, second)

    async def _reset(self) -> None:
        first, second = self._two()
        self._replicas.trace(f"reset {first} - {second}")
        self._replicas.network.reset(first, second)

    async def _slow(self) -> None:
        pair = frozenset(self._two())
        self._replicas.network.latency[pair] = self._rng.choice((0.001, 0.05, 0.2))

    async def _crash(self) -> None:
        if self._replicas.alive:
            await self._replicas.crash(self._rng.choice(self._replicas.alive))

    async def _crash_leader(self) -> None:
        for name in self._replicas.ready_leaders():
            await self._replicas.crash(name)

    async def _crash_all(self) -> None:
        if self._rng.random() < 0.3:
            for name in self._replicas.alive:
                await self._replicas.crash(name)

    async def _restart(self) -> None:
        down = [name for name in self._replicas.names if name not in self._replicas.stores]
        if down:
            await self._replicas.start(self._rng.choice(down))

    async def _isolate_leader(self) -> None:
        for leader in self._replicas.ready_leaders():
            self._replicas.trace(f"isolate {leader}")
            for other in self._replicas.names:
                if other != leader:
                    self._replicas.network.cut(leader, other)


async def _live(seed: int) -> SimResult:
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    latency = rng.choice((0.002, 0.02, 0.1, 0.2))
    names = [f"r{number + 1}" for number in range(rng.choice((3, 3, 3, 3, 5, 1)))]
    replicas = SimReplicas(names, rng=rng, loop=loop, latency=latency)
    for name in names:
        await replicas.start(name)
    acknowledged = Acknowledged()
    clients = [
        SimClient(f"c{number}", replicas, acknowledged, rng=random.Random(rng.getrandbits(64)))
        for number in range(rng.choice((1, 3, 8)))
    ]
    work = [loop.create_task(client.run(until=FAULT_SECONDS)) for client in clients]
    injector = FaultInjector(replicas, rng=random.Random(rng.getrandbits(64)))
    if len(names) > 1:
        await injector.run(until=FAULT_SECONDS)
    for task in work:
        await task
    await _heal_and_compare(replicas, latency)
    _check_survival(replicas, acknowledged)
    return SimResult(
        seed=seed,
        failures=tuple(replicas.failures),
        acknowledged=len(acknowledged.writes) + acknowledged.counter,
        reads=acknowledged.reads,
        faults=injector.count,
        messages=replicas.network.messages,
        revision=max((store.revision for store in replicas.stores.values()), default=0),
        trace=tuple(replicas.trace.lines),
    )


async def _heal_and_compare(replicas: SimReplicas, latency: float) -> None:
    replicas.trace("everything is healed")
    replicas.network.heal(latency=latency)
    for name in replicas.names:
        if name not in replicas.stores:
            await replicas.start(name)
    deadline = replicas.loop.time() + CATCH_UP_SECONDS
    while (reason := replicas.disagreement()) and replicas.loop.time() < deadline:
        await asyncio.sleep(0.05)  # noqa: ASYNC110 - nothing announces that replicas are level
    if reason:
        replicas.fail(f"not level {CATCH_UP_SECONDS:g} s after healing: {reason}")


def _check_survival(replicas: SimReplicas, acknowledged: Acknowledged) -> None:
    """Every acknowledged write is on every replica, as it was acknowledged, once."""
    for name, store in sorted(replicas.stores.items()):
        view = store.view()
        for key, revision in acknowledged.writes.items():
            found = view.get(key)
            if found is None:
                replicas.fail(f"{name} lost {key}, acknowledged at revision {revision}")
            elif (found.create_revision, found.mod_revision) != (revision, revision):
                replicas.fail(f"{name} has {key} at {found.mod_revision}, acknowledged at {revision}")
        counter = view.get(COUNTER)
        if (0 if counter is None else int(counter.value)) < acknowledged.counter:
            replicas.fail(f"{name} lost increments of the counter")


def run_seed(seed: int) -> SimResult:
    """Live through one seed. The same seed gives the same result in every process."""
    return run_virtual(lambda: _live(seed))
