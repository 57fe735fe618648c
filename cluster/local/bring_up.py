"""From nothing, or from what was there, to a cluster that answers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.images.engine import EngineError, engine_version, ensure_images
from cluster.images.recipes import HELLO, HELLO_IMAGE
from cluster.local.configuration import write_configuration
from cluster.local.layout import Layout
from cluster.local.manager import LocalCluster, exclusive
from cluster.local.probes import (
    PodAnswer,
    ask_pods,
    deployment_pods,
    leader_of,
    missing_from_control_plane,
    missing_howbelets,
    missing_nodes,
    missing_replicas,
)
from cluster.local.progress import Progress
from cluster.local.runtime_choice import Engine, RuntimeChoice, choose_runtime
from cluster.local.settings import Settings, Wishes, load_settings, resolve, save_settings
from cluster.local.waiting import wait_until
from h9s.api.codec import load_manifests
from h9s.api.kinds import ApiObject
from h9s.client import operations
from h9s.client.client import Client
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.errors import AlreadyExistsError, NotFoundError, TimeoutExpiredError, UsageError

EXAMPLE_FILE = Path(__file__).resolve().parents[1] / "examples" / "hello.yaml"
EXAMPLE = "hello"
EXAMPLE_PORT = 8080
_TIMEOUT = 60.0
_RESUME_TIMEOUT = 20.0


@dataclass(frozen=True)
class Running:
    """A cluster that is up."""

    cluster: LocalCluster
    choice: RuntimeChoice
    leader_id: str
    answers: tuple[PodAnswer, ...]


def open_client(layout: Layout, *, name: str = "local") -> Client:
    """A client with the administrator's certificate."""
    config = ClientConfig.load(layout.admin_config)
    return Client(config, clock=SystemClock(), rng=system_random(), name=name)


def ask_engine() -> Engine:
    """Whether a Docker Engine answers."""
    try:
        return Engine(version=engine_version())
    except EngineError as error:
        return Engine(fault=error.message)


async def bring_up(state_dir: Path, wishes: Wishes, *, example: bool, progress: Progress) -> Running:
    """Start what does not run and wait until everything answers; safe to repeat.

    Raises H9sError: UsageError for wishes that cannot be met, ProcessError with the tail of a log
    for a process that died, TimeoutExpiredError saying what was still missing.
    """
    layout = Layout(state_dir)
    previous = load_settings(state_dir)
    with exclusive(layout):
        running = previous is not None and bool(LocalCluster(layout, previous).running())
        choice = choose_runtime(
            wishes.runtime,
            previous=previous.runtime if previous else None,
            engine=ask_engine() if wishes.runtime != "process" else Engine(fault="not asked"),
            running=running,
        )
        settings = resolve(
            previous,
            wishes,
            cluster_id=f"{system_random().getrandbits(64):016x}",
            runtime=choice.runtime,
            running=running,
        )
        cluster = _prepare(layout, settings, progress)
        example = example and not settings.example_applied
        if example and choice.runtime == "docker":
            _make_example_image(progress)
        _start(cluster, progress)
        async with open_client(cluster.layout, name="up") as client:
            leader_id = await _await_cluster(cluster, client, progress)
            answers = await _await_example(cluster, client, progress, first=example)
    return Running(cluster, choice, leader_id, answers)


def _prepare(layout: Layout, settings: Settings, progress: Progress) -> LocalCluster:
    layout = replace(layout, base_port=settings.base_port)
    cluster = LocalCluster(layout, settings)
    for program in sorted({component.command[0] for component in cluster.components.values()}):
        if not os.access(program, os.X_OK):
            raise UsageError(f"{program} is missing: install h9s into this environment (pip install -e .)")
    with progress.step("configuration") as step:
        layout.state_dir.mkdir(parents=True, exist_ok=True)
        save_settings(settings, layout.state_dir)
        write_configuration(layout, settings)
        cluster.initialize_replicas()
        step.result = f"certificates and settings in {layout.state_dir}"
    return cluster


def _make_example_image(progress: Progress) -> None:
    with progress.step("example image") as step:
        made = ensure_images({HELLO_IMAGE: HELLO})
        step.result = f"{HELLO_IMAGE} {'made' if made else 'is there'}"


def _start(cluster: LocalCluster, progress: Progress) -> None:
    with progress.step("processes") as step:
        started = cluster.start_all()
        present = [name for name in cluster.components if name not in started]
        parts = [f"started {' '.join(started)}"] if started else []
        parts += [f"already running {' '.join(present)}"] if present else []
        step.result = "; ".join(parts)


async def _await_cluster(cluster: LocalCluster, client: Client, progress: Progress) -> str:
    servers = cluster.layout.api_addresses
    with progress.step("control plane") as step:
        await _wait(
            cluster,
            lambda: missing_from_control_plane(client, servers),
            "three apiservers with a leader",
            step.waiting_for,
        )
        leader = await leader_of(client, servers)
        leader_id = leader.replica_id if leader else ""
        step.result = f"three apiservers answer, {leader_id} leads"
    with progress.step("workers") as step:
        names = cluster.node_names
        ports = {name: cluster.layout.node_ports(name).grpc for name in names}

        async def missing() -> str:
            return await missing_howbelets(ports) or await missing_nodes(client, names)

        await _wait(cluster, missing, "workers that are ready", step.waiting_for)
        step.result = f"{' '.join(names)} ready"
    return leader_id


async def _await_example(
    cluster: LocalCluster, client: Client, progress: Progress, *, first: bool
) -> tuple[PodAnswer, ...]:
    """Apply the example where that is still to be done, and wait for it where it exists."""
    if first:
        try:
            await client.commit([operations.create(one) for one in _example_objects()])
        except AlreadyExistsError:
            pass
        save_settings(replace(cluster.settings, example_applied=True), cluster.layout.state_dir)
    answers: tuple[PodAnswer, ...] = ()

    async def missing() -> str:
        nonlocal answers
        fault = await missing_replicas(client, EXAMPLE)
        if fault:
            return fault
        answers = tuple(await ask_pods(await deployment_pods(client, EXAMPLE), EXAMPLE_PORT))
        return "; ".join(
            f"{answer.pod} at {answer.address}: {answer.fault}" for answer in answers if answer.fault
        )

    try:
        await deployment_pods(client, EXAMPLE)
    except NotFoundError:
        return ()
    with progress.step("example") as step:
        try:
            timeout = _TIMEOUT if first else _RESUME_TIMEOUT
            await _wait(cluster, missing, "pods of the example that answer", step.waiting_for, timeout)
        except TimeoutExpiredError as error:
            # A user's own change of the example must not keep a cluster from resuming.
            if first:
                raise
            step.result = f"does not answer: {error.message}"
        else:
            step.result = f"{len(answers)} pods of {EXAMPLE} answer"
    return answers


def _example_objects() -> list[ApiObject]:
    objects = load_manifests(EXAMPLE_FILE.read_text(), source=str(EXAMPLE_FILE))
    for one in objects:
        one.metadata.namespace = one.metadata.namespace or "default"
    return objects


async def _wait(
    cluster: LocalCluster,
    check: Callable[[], Awaitable[str]],
    what: str,
    tell: Callable[[str], None],
    timeout: float = _TIMEOUT,
) -> None:
    await wait_until(check, what=what, timeout=timeout, watch=cluster.check_alive, tell=tell)
