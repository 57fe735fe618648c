"""One simulated life of a cluster: a seed decides its size, its load, and what goes wrong when."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from functools import partial

from h9s.sim.faults import FaultInjector
from h9s.sim.operator import SimOperator
from h9s.sim.replicas import TRACE_LENGTH, SimReplicas, Trace
from h9s.sim.traffic import RecordedClient
from h9s.sim.watching import SimHubs, SimWatcher
from h9s.sim.workload import COUNTER, Acknowledged, SimClient
from h9s.testing.virtual_loop import run_virtual

FAULT_SECONDS = 12.0
#: How many lives are spent in elections.
_STORMY = 0.3
#: After healing every replica must be level within this time.
CATCH_UP_SECONDS = 5.0
#: In addition, where members come and go: one that lost its disk learns before it has its vote again.
REJOIN_SECONDS = 3.0


@dataclass(frozen=True)
class SimResult:
    """What a seed gave."""

    seed: int
    failures: tuple[str, ...]
    trace: tuple[str, ...]
    acknowledged: int = 0
    reads: int = 0
    faults: int = 0
    operations: int = 0
    events: int = 0
    messages: int = 0
    #: Of the members, that were asked for and done.
    changes: int = 0
    revision: int = 0

    def counts(self) -> dict[str, int]:
        """What it consisted of, for sums."""
        return {
            "faults": self.faults,
            "changes of members": self.changes,
            "acknowledged writes": self.acknowledged,
            "linearizable reads": self.reads,
            "judged operations": self.operations,
            "watch events": self.events,
            "messages": self.messages,
        }


def is_stormy(seed: int) -> bool:
    """Whether a life is spent in elections."""
    return random.Random(seed).random() < _STORMY


async def _live(seed: int, lines: deque[str]) -> SimResult:
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    stormy = rng.random() < _STORMY
    latency = rng.choice((0.002, 0.02) if stormy else (0.002, 0.02, 0.1, 0.2))
    names = [f"r{number + 1}" for number in range(rng.choice((3, 5) if stormy else (3, 3, 3, 3, 5, 5, 1)))]
    replicas = SimReplicas(
        names,
        rng=rng,
        loop=loop,
        latency=latency,
        datagrams=rng.random() < (0.6 if stormy else 0.3),
        trace=Trace(loop, lines=lines),
    )
    for name in names:
        await replicas.start(name)
    acknowledged = Acknowledged()
    clients = [
        SimClient(f"c{number}", replicas, acknowledged, rng=random.Random(rng.getrandbits(64)))
        for number in range(rng.choice((1, 3, 6)))
    ]
    recorded = [
        RecordedClient(f"d{number}", replicas, rng=random.Random(rng.getrandbits(64)))
        for number in range(rng.choice((0, 2, 4)))
    ]
    hubs = SimHubs(replicas)
    watchers = [
        SimWatcher(
            f"w{number}", replicas, hubs, rng=random.Random(rng.getrandbits(64)), wants_previous=number == 0
        )
        for number in range(2)
    ]
    work = [loop.create_task(client.run(until=FAULT_SECONDS)) for client in clients]
    work += [loop.create_task(client.run(until=FAULT_SECONDS)) for client in recorded]
    work += [loop.create_task(watcher.run(until=FAULT_SECONDS)) for watcher in watchers]
    injector = FaultInjector(replicas, rng=random.Random(rng.getrandbits(64)), stormy=stormy)
    operator = SimOperator(replicas, rng=random.Random(f"operator {seed}"))
    work.append(loop.create_task(operator.run(until=FAULT_SECONDS)))
    await injector.run(until=FAULT_SECONDS)
    for task in work:
        await task
    await _heal_and_compare(
        replicas, latency, within=CATCH_UP_SECONDS + (REJOIN_SECONDS if operator.count else 0.0)
    )
    _check_survival(replicas, acknowledged)
    for name, store in sorted(replicas.stores.items()):
        await store.look_back(partial(replicas.chronicle.check_all, name))
    if not replicas.failures:
        for watcher in watchers:
            await watcher.catch_up(replicas.witness.ledger.revision)
    for failure in replicas.witness.judge():
        replicas.fail(failure)
    return SimResult(
        seed=seed,
        failures=tuple(replicas.failures),
        acknowledged=len(acknowledged.writes) + acknowledged.counter,
        reads=acknowledged.reads,
        faults=injector.count + operator.count,
        changes=operator.done,
        operations=len(replicas.witness.operations),
        events=sum(1 for watch in replicas.witness.watches for _ in watch.events()),
        messages=replicas.network.messages,
        revision=max((store.revision for store in replicas.stores.values()), default=0),
        trace=tuple(replicas.trace.lines),
    )


async def _heal_and_compare(replicas: SimReplicas, latency: float, *, within: float) -> None:
    replicas.trace("everything is healed")
    await replicas.heal(latency=latency)
    deadline = replicas.loop.time() + within
    while (reason := replicas.disagreement()) and replicas.loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    if reason:
        replicas.fail(f"not level {within:g} s after healing: {reason}")


def _check_survival(replicas: SimReplicas, acknowledged: Acknowledged) -> None:
    """Every acknowledged write is on every member, as it was acknowledged, once."""
    for name in replicas.members():
        if name not in replicas.stores:
            replicas.fail(f"the member {name} does not run")
            continue
        view = replicas.stores[name].view()
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
    lines: deque[str] = deque(maxlen=TRACE_LENGTH)
    try:
        return run_virtual(lambda: _live(seed, lines))
    except Exception as error:  # noqa: BLE001 - whatever ended it is a finding
        failure = f"the life ended with {error!r}"
        return SimResult(seed=seed, failures=(failure,), trace=tuple(lines))
