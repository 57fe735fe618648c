"""How fast writes go, and how soon another replica's watchers see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.echo_server import echo_server
from benchmarks.etcd.members import temporary_etcd
from benchmarks.load import LoadOutcome, LoadPlan, measure
from benchmarks.report import Result, at_least_times, at_most, percentile
from cluster.local.temporary import leader_id, temporary_control_plane


@dataclass(frozen=True)
class StoreSettings:
    """How long and how much."""

    seconds: float = 8.0
    unary_clients: int = 64
    client_processes: int = 2
    outstanding: int = 256
    payload_bytes: int = 256


@dataclass(frozen=True)
class Measured:
    """The four loads on one target."""

    sequential: LoadOutcome
    parallel: LoadOutcome
    outstanding: LoadOutcome
    watched: LoadOutcome


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
        outstanding=await measure(
            [replace(plan, target=batching_target, prefix="outstanding", outstanding=settings.outstanding)]
        ),
        watched=await measure([replace(plan, prefix="watched", watch_address=watch_address)]),
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
    etcd_outstanding = None if etcd is None else _rate(etcd.outstanding)
    return [
        at_most(
            "one client in sequence, p50",
            percentile(h9s.sequential.latencies_ms, 50),
            "ms",
            1.3,
            peer=None if etcd is None else percentile(etcd.sequential.latencies_ms, 50),
        ),
        Result(
            "one client in sequence, p99",
            percentile(h9s.sequential.latencies_ms, 99),
            "ms",
            peer=None if etcd is None else percentile(etcd.sequential.latencies_ms, 99),
        ),
        Result("empty gRPC call, p50", percentile(echo.latencies_ms, 50), "ms"),
        at_least_times(
            unary,
            _rate(h9s.parallel),
            rate,
            0.5,
            _rate(echo_parallel),
            "echo",
            peer=None if etcd is None else _rate(etcd.parallel),
        ),
        Result(f"gRPC echo, {unary}", _rate(echo_parallel), "calls/s"),
        at_least_times(
            f"{settings.outstanding} outstanding, batching client",
            _rate(h9s.outstanding),
            rate,
            0.8,
            etcd_outstanding,
            "etcd",
            peer=etcd_outstanding,
        ),
        at_most(
            "write to event at another replica, p50",
            percentile(h9s.watched.latencies_ms, 50),
            "ms",
            2.0,
            peer=None if etcd is None else percentile(etcd.watched.latencies_ms, 50),
        ),
    ]


def _rate(outcome: LoadOutcome) -> float:
    return outcome.writes / outcome.seconds
