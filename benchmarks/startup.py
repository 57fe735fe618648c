"""How long many replicas take to run, against plain Docker starting as many containers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import docker

from benchmarks.report import Result, at_most_times, median
from cluster.images.engine import ensure_images
from cluster.images.recipes import TEST_IMAGES
from cluster.local.bring_up import open_client
from cluster.local.manager import LocalCluster
from cluster.local.temporary import temporary_cluster
from cluster.local.waiting import wait_until
from h9s._pb import apps_pb2, core_pb2
from h9s.client.client import Client
from h9s.clock import SystemClock, system_random
from h9s.errors import NotFoundError, UnavailableError

IMAGE = "busybox:1.28"
_CLOCK = SystemClock()
_TIMEOUT = 180.0
_NAME = "startup"


@dataclass(frozen=True)
class StartupSettings:
    """How many replicas, how often, and how many containers plain Docker starts at a time."""

    replicas: int = 30
    rounds: int = 3
    docker_at_a_time: int = 8
    workers: int = 2


async def run_startup(folder: Path, settings: StartupSettings, *, peer: bool) -> list[Result]:
    """Measure h9s on Docker and, if asked for, Docker alone. Raises EngineError without an engine."""
    await asyncio.to_thread(ensure_images, {IMAGE: TEST_IMAGES[IMAGE]})
    manifest = folder / "startup.yaml"
    _write(manifest, _deployment(settings.replicas))
    async with (
        temporary_cluster(folder / "h9s", workers=settings.workers, runtime="docker") as running,
        open_client(running.cluster.layout, name="benchmark") as client,
    ):
        took = [await _round(running.cluster, client, manifest, settings) for _ in range(settings.rounds)]
    plain = None
    if peer:
        plain = median([await asyncio.to_thread(_plain_docker, settings) for _ in range(settings.rounds)])
    name = f"apply of {settings.replicas} replicas to all Running, median"
    return [
        at_most_times(name, median(took), "s", 2.0, plain, "plain Docker"),
        Result("replicas started per second", settings.replicas / median(took), "1/s"),
    ]


def _deployment(replicas: int) -> dict[str, object]:
    container = {
        "name": "sleeper",
        "image": IMAGE,
        "command": ["sleep", "100000"],
        "imagePullPolicy": "Never",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _NAME},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": _NAME}},
            "template": {
                "metadata": {"labels": {"app": _NAME}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


def _write(path: Path, document: object) -> None:
    # JSON is YAML.
    path.write_text(json.dumps(document))


async def _round(cluster: LocalCluster, client: Client, manifest: Path, settings: StartupSettings) -> float:
    begin = _CLOCK.monotonic()
    apply = await asyncio.create_subprocess_exec(
        str(cluster.programs / "howbectl"),
        "--config",
        str(cluster.layout.admin_config),
        "apply",
        "-f",
        str(manifest),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await apply.communicate()
    if apply.returncode != 0:
        raise UnavailableError(f"howbectl apply failed: {output.decode()}")

    async def missing() -> str:
        running = sum(pod.status.phase == "Running" for pod in await _pods(client))
        return "" if running >= settings.replicas else f"{settings.replicas - running} pods to run"

    await _until(missing, f"{settings.replicas} running replicas")
    took = _CLOCK.monotonic() - begin
    await client.delete(apps_pb2.Deployment, _NAME)
    await _until(lambda: _left(client), "the replicas' end")
    return took


async def _pods(client: Client) -> list[core_pb2.Pod]:
    return (await client.list(core_pb2.Pod, "default", label_selector=f"app={_NAME}", stale_ok=True)).items


async def _left(client: Client) -> str:
    try:
        await client.get(apps_pb2.Deployment, _NAME)
    except NotFoundError:
        pods = await _pods(client)
        return f"{len(pods)} pods to go" if pods else ""
    return "the deployment to go"


async def _until(check: Callable[[], Awaitable[str]], what: str) -> None:
    await wait_until(check, what=what, timeout=_TIMEOUT, interval=0.02)


def _plain_docker(settings: StartupSettings) -> float:
    """Seconds until all containers run, each on the default bridge, some at a time."""
    client = docker.from_env(max_pool_size=settings.docker_at_a_time + 2)
    run = f"{system_random().getrandbits(32):08x}"

    def start(number: int) -> object:
        return client.containers.run(
            IMAGE,
            ["sleep", "100000"],
            name=f"h9s-benchmark-{run}-{number}",
            detach=True,
            network_mode="bridge",
        )

    containers: list[object] = []
    try:
        with concurrent.futures.ThreadPoolExecutor(settings.docker_at_a_time) as pool:
            begin = _CLOCK.monotonic()
            containers = list(pool.map(start, range(settings.replicas)))
            took = _CLOCK.monotonic() - begin
            found = client.containers.list(all=True, filters={"name": f"h9s-benchmark-{run}-"})
            list(pool.map(lambda container: container.remove(force=True), found))
    finally:
        client.close()
    if len(containers) != settings.replicas:
        raise UnavailableError("plain Docker did not start all containers")
    return took
