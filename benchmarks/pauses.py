"""How long a snapshot of many objects holds a replica up: its event loop, and with it heartbeats and
commits.

One replica alone, in this process, on a real disk: whatever it does is on this loop, so the longest
pause of the loop is the longest that a heartbeat can be late.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.report import Result, at_most
from cluster.local.waiting import wait_until
from h9s._pb import api_pb2, log_pb2
from h9s.clock import SystemClock, system_random, wall_ms
from h9s.daemon import freeze_startup_objects
from h9s.raft.history_archive import SqliteArchive
from h9s.raft.journal import Journal
from h9s.raft.link_protocol import LinkHandler
from h9s.raft.replicated_store import ReplicaAddress, ReplicatedStore, StoreSettings
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.raft.storage import FileStorage

_CLOCK = SystemClock()
_NAME = "alone"
_NEVER = 1 << 62
_GROUP = 1000
_TIMEOUT = 60.0


@dataclass
class _Observed:
    """In milliseconds: how late the loop was, and how long commits took."""

    late_ms: list[float] = field(default_factory=list)
    commits_ms: list[float] = field(default_factory=list)


class _NoLinks:
    """There is nobody else. Implements `h9s.raft.link_protocol.Links`."""

    def start(self, handler: LinkHandler) -> None:
        """Nothing to connect with."""

    def send(self, replica_id: str, data: bytes) -> bool:
        """Nobody takes it."""
        raise AssertionError(f"{len(data)} bytes for {replica_id}, who does not exist")

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Nobody to dial."""


async def run_pauses(folder: Path, *, objects: int, payload_bytes: int) -> list[Result]:
    """Fill a store; then take a snapshot while somebody writes."""
    async with _replica(folder, snapshot_min_entries=_NEVER) as (store, _):
        for first in range(0, objects, _GROUP):
            names = (f"object-{number}" for number in range(first, min(objects, first + _GROUP)))
            await asyncio.gather(*(_write(store, name, payload_bytes) for name in names))
    freeze_startup_objects()
    async with _replica(folder, snapshot_min_entries=1) as (store, latest):
        observed = await _observe_until(store, lambda: latest() is not None)
    at = f"a snapshot of {objects:,} objects"
    return [
        at_most(f"{at}: longest delay of a heartbeat", max(observed.late_ms), "ms", 50.0),
        at_most(f"{at}: slowest commit meanwhile", max(observed.commits_ms), "ms", 100.0),
    ]


@asynccontextmanager
async def _replica(
    folder: Path, *, snapshot_min_entries: int
) -> AsyncIterator[tuple[ReplicatedStore, Callable[[], SnapshotInfo | None]]]:
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    snapshots = SnapshotFiles(FileStorage(folder / "snapshots"), identity="bench")
    store = ReplicatedStore(
        cluster_id="bench",
        replica_id=_NAME,
        addresses={_NAME: ReplicaAddress(_NAME, _NAME)},
        journal=Journal(FileStorage(folder / "journal"), identity=f"bench/{_NAME}"),
        snapshots=snapshots,
        links=_NoLinks(),
        clock=_CLOCK,
        rng=random.Random(system_random().getrandbits(64)),
        loop=loop,
        on_fatal=failed.set_exception,
        settings=StoreSettings(
            compaction_interval=1.0, snapshot_min_entries=snapshot_min_entries, snapshot_min_bytes=_NEVER
        ),
        open_archive=partial(SqliteArchive.open, folder / "history.sqlite", identity="bench"),
    )
    await store.start()
    try:
        await _wait(lambda: store.leadership().ready, what="a leader")
        yield store, snapshots.latest
    finally:
        await store.stop(hand_over=False)
    if failed.done():
        failed.result()


async def _wait(condition: Callable[[], bool], *, what: str) -> None:
    async def missing() -> str:
        return "" if condition() else what

    await wait_until(missing, what=what, timeout=_TIMEOUT)


async def _write(store: ReplicatedStore, name: str, payload_bytes: int) -> None:
    rng = system_random()
    request_id = api_pb2.RequestId(nonce=rng.randbytes(16), issued_at_ms=wall_ms(_CLOCK))
    mutation = log_pb2.Mutation(key=f"/bench/Object/default/{name}", value=rng.randbytes(payload_bytes))
    await store.propose(log_pb2.Transaction(request_id=request_id, mutations=[mutation]), timeout=_TIMEOUT)


async def _observe_until(store: ReplicatedStore, is_over: Callable[[], bool]) -> _Observed:
    observed = _Observed()

    async def watch_loop() -> None:
        while True:
            begin = _CLOCK.monotonic()
            await asyncio.sleep(0.002)
            observed.late_ms.append((_CLOCK.monotonic() - begin - 0.002) * 1000)

    async def write() -> None:
        number = 0
        while True:
            number += 1
            begin = _CLOCK.monotonic()
            await _write(store, f"meanwhile-{number}", 1024)
            observed.commits_ms.append((_CLOCK.monotonic() - begin) * 1000)
            await asyncio.sleep(0.005)

    tasks = [asyncio.ensure_future(watch_loop()), asyncio.ensure_future(write())]
    try:
        await _wait(is_over, what="a snapshot")
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return observed
