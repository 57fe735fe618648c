"""What an apiserver takes while nothing happens."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Result, at_most
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster, ProcessError
from cluster.local.temporary import leader_id, temporary_cluster
from h9s.clock import SystemClock

_CLOCK = SystemClock()


@dataclass(frozen=True)
class IdleSettings:
    """How long to look, after how long a rest, with how many workers that send heartbeats."""

    seconds: float = 30.0
    rest_seconds: float = 10.0
    workers: int = 2


@dataclass(frozen=True)
class Usage:
    """A process's use so far: seconds of processor time, and resident memory in MiB."""

    cpu_seconds: float
    memory_mib: float


def usage_of(pid: int) -> Usage:
    """Read /proc. Raises FileNotFoundError if there is no such process."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    # Fields after the program's name: utime and stime are the 12th and 13th.
    fields = stat[stat.rindex(b")") + 2 :].split()
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        memory_mib=resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )


async def run_idle(folder: Path, settings: IdleSettings) -> list[Result]:
    """Measure a cluster with its example application running."""
    async with temporary_cluster(
        folder / "h9s", workers=settings.workers, runtime="process", example=True
    ) as running:
        await asyncio.sleep(settings.rest_seconds)
        names = [*REPLICA_IDS, "scheduler", "controller-manager", *running.cluster.node_names]
        before = {name: _usage(running.cluster, name) for name in names}
        begin = _CLOCK.monotonic()
        await asyncio.sleep(settings.seconds)
        seconds = _CLOCK.monotonic() - begin
        after = {name: _usage(running.cluster, name) for name in names}
        leader = await leader_id(running.cluster)
    percent = {name: 100 * (after[name].cpu_seconds - before[name].cpu_seconds) / seconds for name in names}
    followers = [name for name in REPLICA_IDS if name != leader]
    results = [
        at_most("apiserver, the leader: processor", percent[leader], "% of a core", 2.0),
        at_most(
            "apiserver, a follower: processor", max(percent[name] for name in followers), "% of a core", 2.0
        ),
        at_most(
            "apiserver, the largest: memory", max(after[one].memory_mib for one in REPLICA_IDS), "MiB", 120.0
        ),
    ]
    for name in ("scheduler", "controller-manager", "n1"):
        label = "howbelet" if name == "n1" else name
        results.append(Result(f"{label}: processor", percent[name], "% of a core"))
        results.append(Result(f"{label}: memory", after[name].memory_mib, "MiB"))
    return results


def _usage(cluster: LocalCluster, name: str) -> Usage:
    record = cluster.record(name)
    if record is None:
        raise ProcessError(f"{name} does not run any more")
    return usage_of(record.pid)
