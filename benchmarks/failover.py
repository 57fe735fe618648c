"""How long writes stop when the leader is killed, and whether anybody stops leading without a reason."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from benchmarks.etcd.members import EtcdCluster, temporary_etcd
from benchmarks.report import Result, at_most, median, ratio
from benchmarks.soak import SoakLoad, run_soak
from benchmarks.targets import EtcdWriter, create_operation
from cluster.local.bring_up import open_client
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster
from cluster.local.temporary import await_control_plane, leader_id, temporary_control_plane
from cluster.local.waiting import wait_until
from h9s.client.client import Client
from h9s.clock import SystemClock, system_random
from h9s.errors import H9sError

_CLOCK = SystemClock()
_RECOVERY_TIMEOUT = 60.0


@dataclass(frozen=True)
class FailoverSettings:
    """How many killings, how long the cluster rests between two, and how long it is left in peace, with
    how many objects of 1 KiB."""

    rounds: int = 20
    rest_seconds: float = 1.5
    soak_minutes: float = 0.0
    soak_writes_per_second: int = 500
    soak_objects: int = 100_000


class Target(Protocol):
    """A cluster whose leader can be killed."""

    async def kill_leader(self) -> None:
        """SIGKILL to the leader's process."""
        ...

    async def restore(self) -> None:
        """Start what was killed and wait until all members are healthy."""
        ...

    async def write(self, writer: int, number: int) -> bool:
        """Try a write through one of three writers; whether it was acknowledged."""
        ...


async def run_failover(folder: Path, settings: FailoverSettings, *, peer: bool) -> list[Result]:
    """Measure h9s and, if asked for, etcd."""
    soak: list[Result] = []
    async with temporary_control_plane(folder / "h9s") as cluster, _h9s_target(cluster) as target:
        gaps = await _gaps(target, settings)
        if settings.soak_minutes > 0:
            load = SoakLoad(settings.soak_minutes, settings.soak_writes_per_second, settings.soak_objects)
            soak += await run_soak(cluster, load)
    etcd_gaps: list[float] = []
    if peer:
        async with temporary_etcd(folder / "etcd") as etcd, _etcd_target(etcd) as etcd_target:
            etcd_gaps = await _gaps(etcd_target, settings)
    return [
        at_most("median gap", median(gaps), "s", 0.05, peer=median(etcd_gaps) if peer else None),
        at_most("worst gap", max(gaps), "s", 0.2, peer=max(etcd_gaps) if peer else None),
        Result(
            "best gap",
            min(gaps),
            "s",
            peer=min(etcd_gaps) if peer else None,
            ratio=ratio(min(gaps), min(etcd_gaps)) if peer else None,
        ),
        *soak,
    ]


async def _gaps(target: Target, settings: FailoverSettings) -> list[float]:
    """Seconds from SIGKILL to the first acknowledgement of a write begun after it, round by round."""
    acknowledged: list[tuple[float, float]] = []

    async def keep_writing(writer: int) -> None:
        number = 0
        while True:
            number += 1
            started = _CLOCK.monotonic()
            if await target.write(writer, number):
                acknowledged.append((started, _CLOCK.monotonic()))
            await asyncio.sleep(0.002)

    gaps = []
    async with asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(keep_writing(writer)) for writer in range(3)]
        for _ in range(settings.rounds):
            await asyncio.sleep(settings.rest_seconds)
            acknowledged.clear()
            await target.kill_leader()
            killed = _CLOCK.monotonic()
            gaps.append(await _first_after(killed, acknowledged) - killed)
            await target.restore()
        for task in writers:
            task.cancel()
    return gaps


async def _first_after(killed: float, acknowledged: list[tuple[float, float]]) -> float:
    async def missing() -> str:
        return "" if any(started > killed for started, _ in acknowledged) else "an acknowledged write"

    await wait_until(missing, what="writes after the killing", timeout=_RECOVERY_TIMEOUT, interval=0.001)
    return min(ended for started, ended in acknowledged if started > killed)


class _H9sTarget:
    def __init__(self, cluster: LocalCluster, clients: list[Client]) -> None:
        self._cluster = cluster
        self._clients = clients
        self._prefix = f"failover-{system_random().getrandbits(32):08x}"
        self._killed = ""

    async def kill_leader(self) -> None:
        self._killed = await leader_id(self._cluster)
        self._cluster.signal(self._killed, signal.SIGKILL)

    async def restore(self) -> None:
        self._cluster.start(self._killed)
        await await_control_plane(self._cluster)

    async def write(self, writer: int, number: int) -> bool:
        try:
            await self._clients[writer].commit([create_operation(f"{self._prefix}-{writer}-{number}", 256)])
        except H9sError:
            return False
        return True


@asynccontextmanager
async def _h9s_target(cluster: LocalCluster) -> AsyncIterator[_H9sTarget]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(cluster.layout, name="benchmark"))
            for _ in REPLICA_IDS
        ]
        yield _H9sTarget(cluster, clients)


class _EtcdTarget:
    #: A member without a leader keeps a write until this passes; short, so as not to add to the gap.
    _ATTEMPT_SECONDS = 0.1

    def __init__(self, cluster: EtcdCluster, writers: list[EtcdWriter]) -> None:
        self._cluster = cluster
        self._writers = writers
        self._killed = ""

    async def kill_leader(self) -> None:
        self._killed = await self._cluster.leader()
        self._cluster.kill(self._killed)

    async def restore(self) -> None:
        self._cluster.start(self._killed)
        await wait_until(
            self._cluster.missing_health,
            what="etcd",
            timeout=_RECOVERY_TIMEOUT,
            watch=self._cluster.check_alive,
        )

    async def write(self, writer: int, number: int) -> bool:
        try:
            await self._writers[writer].write(f"failover-{writer}-{number}", timeout=self._ATTEMPT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return True


@asynccontextmanager
async def _etcd_target(cluster: EtcdCluster) -> AsyncIterator[_EtcdTarget]:
    writers = [EtcdWriter(cluster.config, address, 256) for address in cluster.addresses]
    try:
        yield _EtcdTarget(cluster, writers)
    finally:
        for writer in writers:
            await writer.close()
