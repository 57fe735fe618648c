"""Steady writes to a store of some size, with nobody killed: nobody should stop leading."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import cycle

from benchmarks.report import Result, at_most, percentile
from benchmarks.targets import create_operation, update_operation
from cluster.local.bring_up import open_client
from cluster.local.manager import LocalCluster
from cluster.local.probes import leader_of
from h9s._pb import api_pb2
from h9s.client.batching import BatchingClient
from h9s.client.client import Client
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig

_CLOCK = SystemClock()
_PAYLOAD_BYTES = 1024
#: While the store is filled.
_OUTSTANDING = 256


@dataclass(frozen=True)
class SoakLoad:
    """How long, how much, and on how many objects of 1 KiB."""

    minutes: float
    writes_per_second: int
    objects: int


async def run_soak(cluster: LocalCluster, load: SoakLoad) -> list[Result]:
    """Fill the store, then change its objects one after the other; count the terms that go by."""
    prefix = f"soak-{system_random().getrandbits(32):08x}"
    names = [f"{prefix}-{number}" for number in range(load.objects)]
    config = ClientConfig.load(cluster.layout.admin_config)
    async with (
        open_client(cluster.layout, name="observer") as observer,
        BatchingClient(config, clock=_CLOCK, rng=system_random(), name="soak") as client,
    ):
        await _fill(client, names)
        before = await _term(cluster, observer)
        latencies_ms = await _write_steadily(client, names, load)
        after = await _term(cluster, observer)
    text = f"{load.minutes:g} min at {load.writes_per_second} writes/s, {load.objects:,} objects"
    return [
        at_most(f"elections without a fault, {text}", float(after - before), "elections", 0.0),
        Result("a write meanwhile, p99", percentile(latencies_ms, 99), "ms"),
        Result("a write meanwhile, the slowest", max(latencies_ms), "ms"),
    ]


async def _fill(client: BatchingClient, names: list[str]) -> None:
    left = iter(names)

    async def lane() -> None:
        for name in left:
            await client.commit([create_operation(name, _PAYLOAD_BYTES)])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_OUTSTANDING):
            tasks.create_task(lane())


async def _term(cluster: LocalCluster, observer: Client) -> int:
    leader = await leader_of(observer, cluster.layout.api_addresses)
    return leader.term if leader is not None else -1


async def _write_steadily(client: BatchingClient, names: list[str], load: SoakLoad) -> list[float]:
    """How long each write took, in milliseconds. A write that fails ends the measurement."""
    latencies_ms: list[float] = []

    async def write(operation: api_pb2.Operation) -> None:
        begin = _CLOCK.monotonic()
        await client.commit([operation])
        latencies_ms.append((_CLOCK.monotonic() - begin) * 1000)

    begin = _CLOCK.monotonic()
    name = cycle(names)
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(load.minutes * 60 * load.writes_per_second)):
            due = begin + number / load.writes_per_second
            if (wait := due - _CLOCK.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.create_task(write(update_operation(next(name), _PAYLOAD_BYTES, holder=str(number))))
    return latencies_ms
