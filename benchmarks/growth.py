"""How the store grows: throughput, memory, restart, lists and pauses with few objects and with many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.idle import usage_of
from benchmarks.pauses import run_pauses
from benchmarks.report import Result, at_most, percentile
from benchmarks.targets import create_operation, lease_key
from cluster.local.bring_up import open_client
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster, ProcessError
from cluster.local.temporary import await_control_plane, leader_id, temporary_control_plane
from h9s._pb import api_pb2
from h9s.client.batching import BatchingClient
from h9s.client.client import Client
from h9s.client.grpc_transport import GrpcTransport
from h9s.client.transport import LIST
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig

_CLOCK = SystemClock()
_LISTED = 10_000
#: Where the aims are.
_AIMED_AT = 100_000


@dataclass(frozen=True)
class GrowthSettings:
    """How many objects at each step, how large they are, and how many are written at once."""

    objects: tuple[int, ...] = (1_000, 10_000, 100_000, 300_000)
    payload_bytes: int = 1024
    outstanding: int = 256
    #: How often the lists are repeated and, between two steps, the probing write.
    lists: int = 5
    probe_interval: float = 0.02


class _Probe:
    """One client that writes every now and then, and what it waited for an answer, in milliseconds."""

    def __init__(self, client: Client, *, prefix: str, interval: float) -> None:
        self._client = client
        self._prefix = prefix
        self._interval = interval
        self._count = 0
        self.latencies_ms: list[float] = []

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._count += 1
            begin = _CLOCK.monotonic()
            await self._client.commit([create_operation(f"{self._prefix}-{self._count}", 256)])
            self.latencies_ms.append((_CLOCK.monotonic() - begin) * 1000)
            await asyncio.sleep(self._interval)


async def run_growth(folder: Path, settings: GrowthSettings) -> list[Result]:
    """Fill one control plane step by step."""
    results: list[Result] = []
    async with temporary_control_plane(folder / "h9s") as cluster:
        config = ClientConfig.load(cluster.layout.admin_config)
        async with (
            BatchingClient(config, clock=_CLOCK, rng=system_random(), name="growth") as writer,
            open_client(cluster.layout, name="probe") as prober,
        ):
            names = (f"object-{number}" for number in range(max(settings.objects)))
            present = 0
            for objects in settings.objects:
                rate = await _fill(writer, names, objects - present, settings)
                present = objects
                results += await _step(cluster, config, prober, objects, rate, settings)
    if _AIMED_AT in settings.objects:
        results += await run_pauses(folder / "alone", objects=_AIMED_AT, payload_bytes=settings.payload_bytes)
    return results


async def _fill(writer: Client, names: Iterator[str], count: int, settings: GrowthSettings) -> float:
    """Write that many more objects; how many a second."""
    left = iter(range(count))

    async def lane() -> None:
        for _ in left:
            await writer.commit([create_operation(next(names), settings.payload_bytes)])

    begin = _CLOCK.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(settings.outstanding):
            tasks.create_task(lane())
    return count / (_CLOCK.monotonic() - begin)


async def _step(
    cluster: LocalCluster,
    config: ClientConfig,
    prober: Client,
    objects: int,
    rate: float,
    settings: GrowthSettings,
) -> list[Result]:
    leader = cluster.layout.api_address(await leader_id(cluster))
    async with _probing(prober, f"probe-{objects}", settings) as probe:
        begin = _CLOCK.monotonic()
        for _ in range(settings.lists):
            await _list(config, leader, min(objects, _LISTED))
        seconds = (_CLOCK.monotonic() - begin) / settings.lists
    restart, memory = await _restart(cluster)
    at = f"at {objects:,} objects"
    is_aimed_at = objects == _AIMED_AT
    return [
        Result(f"{at}: writes", rate, "writes/s"),
        Result(f"{at}: list of {min(objects, _LISTED):,}", seconds, "s"),
        at_most(
            f"{at}: another client's write meanwhile, p99", percentile(probe.latencies_ms, 99), "ms", 100.0
        ),
        at_most(f"{at}: restart", restart, "s", 5.0)
        if is_aimed_at
        else Result(f"{at}: restart", restart, "s"),
        at_most(f"{at}: memory", memory, "MiB", 450.0)
        if is_aimed_at
        else Result(f"{at}: memory", memory, "MiB"),
    ]


async def _list(config: ClientConfig, address: str, count: int) -> None:
    """The first objects of the collection, in one answer of the leader."""
    transport = GrpcTransport(config)
    try:
        request = api_pb2.ListRequest(key=lease_key(""), limit=count)
        response = await transport.unary(address, LIST, request, timeout=60.0)
    finally:
        await transport.close()
    if len(response.objects) != count:
        raise ProcessError(f"a list has {len(response.objects)} objects instead of {count}")


@asynccontextmanager
async def _probing(prober: Client, prefix: str, settings: GrowthSettings) -> AsyncIterator[_Probe]:
    probe = _Probe(prober, prefix=prefix, interval=settings.probe_interval)
    task = asyncio.create_task(probe.run())
    try:
        yield probe
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _restart(cluster: LocalCluster) -> tuple[float, float]:
    """Seconds from the start of a killed follower until it is level; the largest memory of all, in MiB."""
    memory = max(_memory(cluster, name) for name in REPLICA_IDS)
    leader = await leader_id(cluster)
    follower = next(name for name in REPLICA_IDS if name != leader)
    cluster.kill(follower)
    cluster.start(follower)
    seconds = await await_control_plane(cluster, timeout=120.0)
    return seconds, max(memory, _memory(cluster, follower))


def _memory(cluster: LocalCluster, name: str) -> float:
    record = cluster.record(name)
    if record is None:
        raise ProcessError(f"{name} does not run any more")
    return usage_of(record.pid).memory_mib
