"""Clusters for tests and measurements: on free ports, in a directory of the caller's, gone at the end."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cluster.local.bring_up import Running, bring_up, open_client
from cluster.local.configuration import write_configuration
from cluster.local.layout import HOST, REPLICA_IDS, Layout
from cluster.local.manager import LocalCluster
from cluster.local.probes import leader_of, missing_from_control_plane
from cluster.local.progress import Silent
from cluster.local.settings import Settings, Wishes, save_settings
from cluster.local.take_down import take_down
from cluster.local.waiting import wait_until
from h9s.clock import system_random
from h9s.errors import UnavailableError, UsageError

# Below the ports that the kernel gives to outgoing connections.
_LOWEST, _HIGHEST = 15_000, 31_000


def find_base_port(*, workers: int, rng: random.Random) -> int:
    """A base port above which all ports that a cluster takes are free. Raises UsageError if there is none."""
    for _ in range(200):
        base = rng.randrange(_LOWEST, _HIGHEST, 10)
        if all(_is_free(base + offset) for offset in range(60 + 10 * workers)):
            return base
    raise UsageError(f"no {60 + 10 * workers} free ports in a row between {_LOWEST} and {_HIGHEST}")


@asynccontextmanager
async def temporary_cluster(
    state_dir: Path, *, workers: int = 2, runtime: str = "process", example: bool = False
) -> AsyncIterator[Running]:
    """A whole cluster, as `scripts/up` starts it; stopped with all its pods at the end.

    The state directory is left to the caller: its logs say what happened.
    """
    wishes = Wishes(find_base_port(workers=workers, rng=system_random()), workers, runtime)
    try:
        yield await bring_up(state_dir, wishes, example=example, progress=Silent())
    finally:
        if Layout(state_dir).settings_file.exists():
            take_down(Layout(state_dir))


@asynccontextmanager
async def temporary_control_plane(state_dir: Path) -> AsyncIterator[LocalCluster]:
    """The three apiservers alone."""
    base_port = find_base_port(workers=1, rng=system_random())
    settings = Settings(cluster_id="temporary", base_port=base_port, workers=1, runtime="process")
    layout = Layout(state_dir, base_port)
    cluster = LocalCluster(layout, settings)
    write_configuration(layout, settings)
    save_settings(settings, state_dir)
    try:
        cluster.initialize_replicas()
        for replica_id in REPLICA_IDS:
            cluster.start(replica_id)
        await await_control_plane(cluster)
        yield cluster
    finally:
        cluster.stop_all()


async def await_control_plane(
    cluster: LocalCluster, *, replicas: Iterable[str] = REPLICA_IDS, timeout: float = 30.0
) -> float:
    """Wait until these replicas answer and agree on a leader; returns the seconds it took."""
    ids = list(replicas)
    async with open_client(cluster.layout, name="await") as client:
        return await wait_until(
            lambda: missing_from_control_plane(client, [cluster.layout.api_address(one) for one in ids]),
            what=f"{', '.join(ids)} with a leader",
            timeout=timeout,
            watch=lambda: cluster.check_alive(ids),
        )


async def leader_id(cluster: LocalCluster) -> str:
    """The replica that leads. Raises UnavailableError if none says so."""
    async with open_client(cluster.layout, name="leader") as client:
        leader = await leader_of(client, cluster.layout.api_addresses)
    if leader is None:
        raise UnavailableError("no replica says that it leads")
    return leader.replica_id


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
