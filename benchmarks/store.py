"""How fast writes and reads go, and how soon another replica's watchers see a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.echo_server import echo_server
from benchmarks.etcd.members import temporary_etcd
from benchmarks.load import LoadOutcome, LoadPlan, measure
from benchmarks.report import Result, at_least_times, at_most, at_most_times, percentile
from cluster.local.temporary import leader_id, temporary_control_plane


@dataclass(frozen=True)
class StoreSettings:
    """How long and how much."""

    seconds: float = 8.0
    unary_clients: int = 64
    client_processes: int = 2
    outstanding: tuple[int, ...] = (64, 256)
    payload_bytes: int = 256


@dataclass(frozen=True)
class Measured:
    """The loads on one target; of the batching client by how many writes it has outstanding."""

    sequential: LoadOutcome
    parallel: LoadOutcome
    outstanding: Mapping[int, LoadOutcome]
    watched: LoadOutcome
    read: LoadOutcome


async def run_store(folder: Path, settings: StoreSettings, *, peer: bool) -> list[Result]:
    """Measure h9s, the echo service and, if asked for, etcd, one after the other."""
    async with temporary_control_plane(folder / "h9s") as cluster:
        leader = cluster.layout.api_address(await leader_id(cluster))
        follower = next(address for address in cluster.layout.api_addresses if address != leader)
        h9s = await _measure(
            LoadPlan("h9s", str(cluster.layout.admin_config), leader, "h9s", settings.seconds),
            batching_target="h9s-batching",
            watch_address=follower,
            settings=settings,
        )
        async with echo_server(folder, cluster.layout) as address:
            echo_plan = LoadPlan("echo", str(cluster.layout.admin_config), address, "echo", settings.seconds)
            echo = await measure([echo_plan])
            echo_parallel = await measure(_spread(echo_plan, settings))
    etcd = await _measure_etcd(folder / "etcd", settings) if peer else None
    return _results(h9s, echo, echo_parallel, etcd, settings)


async def _measure(
    plan: LoadPlan, *, batching_target: str, watch_address: str, settings: StoreSettings
) -> Measured:
    plan = replace(plan, payload_bytes=settings.payload_bytes)
    return Measured(
        sequential=await measure([replace(plan, prefix="sequential")]),
        parallel=await measure(_spread(replace(plan, prefix="parallel"), settings)),
        outstanding={
            count: await measure(
                [replace(plan, target=batching_target, prefix=f"outstanding-{count}", outstanding=count)]
            )
            for count in settings.outstanding
        },
        watched=await measure([replace(plan, prefix="watched", watch_address=watch_address)]),
        read=await measure([replace(plan, prefix="read", reads=True)]),
    )


async def _measure_etcd(folder: Path, settings: StoreSettings) -> Measured:
    async with temporary_etcd(folder) as etcd:
        config_file = folder / "client.yaml"
        etcd.config.save(config_file)
        leader = await etcd.leader()
        follower = next(address for address in etcd.addresses if address != leader)
        return await _measure(
            LoadPlan("etcd", str(config_file), leader, "etcd", settings.seconds),
            batching_target="etcd",
            watch_address=follower,
            settings=settings,
        )


def _spread(plan: LoadPlan, settings: StoreSettings) -> list[LoadPlan]:
    """Separate unary clients, spread over a couple of processes."""
    share = settings.unary_clients // settings.client_processes
    return [
        replace(plan, writers=share, prefix=f"{plan.prefix}-{number}")
        for number in range(settings.client_processes)
    ]


def _results(
    h9s: Measured,
    echo: LoadOutcome,
    echo_parallel: LoadOutcome,
    etcd: Measured | None,
    settings: StoreSettings,
) -> list[Result]:
    rate = "writes/s"
    unary = f"{settings.unary_clients} unary clients"
    sequential, peer_sequential = h9s.sequential, etcd.sequential if etcd else None
    batching = [
        at_least_times(
            f"{count} outstanding, batching client",
            _rate(outcome),
            rate,
            1.3,
            _rate(etcd.outstanding[count]) if etcd else None,
            "etcd",
            peer=_rate(etcd.outstanding[count]) if etcd else None,
        )
        for count, outcome in h9s.outstanding.items()
    ]
    return [
        at_most(
            "one client in sequence, p50", _p(50, sequential), "ms", 1.3, peer=_peer(50, peer_sequential)
        ),
        Result("one client in sequence, p99", _p(99, sequential), "ms", peer=_peer(99, peer_sequential)),
        Result("empty gRPC call, p50", _p(50, echo), "ms"),
        at_least_times(
            unary,
            _rate(h9s.parallel),
            rate,
            0.65,
            _rate(echo_parallel),
            "echo",
            peer=_rate(etcd.parallel) if etcd else None,
        ),
        Result(f"gRPC echo, {unary}", _rate(echo_parallel), "calls/s"),
        *batching,
        at_most(
            "write to event at another replica, p50",
            _p(50, h9s.watched),
            "ms",
            2.0,
            peer=_peer(50, etcd.watched if etcd else None),
        ),
        at_most_times(
            "linearizable read, p50",
            _p(50, h9s.read),
            "ms",
            2.0,
            _peer(50, etcd.read if etcd else None),
            "etcd",
        ),
    ]


def _p(percent: float, outcome: LoadOutcome) -> float:
    return percentile(outcome.latencies_ms, percent)


def _peer(percent: float, outcome: LoadOutcome | None) -> float | None:
    return None if outcome is None else _p(percent, outcome)


def _rate(outcome: LoadOutcome) -> float:
    return outcome.writes / outcome.seconds
