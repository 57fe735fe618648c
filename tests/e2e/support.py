"""What the end-to-end tests stand on: howbectl as a process, and waiting for what the cluster says."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.local.bring_up import open_client
from cluster.local.manager import LocalCluster
from cluster.local.waiting import wait_until
from h9s._pb import core_pb2
from h9s.api.pods import is_ready
from h9s.client.client import Client

Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Howbectl:
    """Runs howbectl against one cluster, as a user would."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._program = str(cluster.programs / "howbectl")
        self._environment = dict(os.environ) | {"H9S_CONFIG": str(cluster.layout.admin_config)}

    async def run(self, *arguments: str, stdin: str = "", timeout: float = 60.0) -> Done:
        """Run a command to its end."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    async def ok(self, *arguments: str, stdin: str = "", timeout: float = 60.0) -> str:
        """Run a command that has to succeed; gives its output."""
        done = await self.run(*arguments, stdin=stdin, timeout=timeout)
        assert done.code == 0, f"howbectl {' '.join(arguments)}: exit {done.code}\n{done.out}{done.err}"
        return done.out

    async def json(self, *arguments: str) -> Any:
        """Run a command with `-o json` and parse its output."""
        return json.loads(await self.ok(*arguments, "-o", "json"))


def client_of(cluster: LocalCluster) -> Client:
    """An administrator's client."""
    return open_client(cluster.layout, name="test")


async def pods_of(client: Client, selector: str, namespace: str = "default") -> list[core_pb2.Pod]:
    """The pods that a label selector finds and that are not being deleted."""
    pods = (await client.list(core_pb2.Pod, namespace, label_selector=selector)).items
    return [pod for pod in pods if not pod.metadata.HasField("deletion_timestamp")]


async def await_ready_pods(
    client: Client,
    selector: str,
    count: int,
    *,
    namespace: str = "default",
    nodes: Sequence[str] = (),
    timeout: float = 60.0,
) -> list[core_pb2.Pod]:
    """Wait for exactly `count` ready pods, on `nodes` only if given; gives them."""
    found: list[core_pb2.Pod] = []

    async def missing() -> str:
        nonlocal found
        found = await pods_of(client, selector, namespace)
        ready = [p for p in found if is_ready(p) and (not nodes or p.spec.node_name in nodes)]
        return "" if len(ready) == len(found) == count else f"{count} ready pods: {describe(found)}"

    await until(missing, f"{count} ready pods of {selector}", timeout=timeout)
    return found


async def until(check: Check, what: str, *, timeout: float = 60.0, interval: float = 0.05) -> float:
    """Wait for a condition; gives the seconds it took."""
    return await wait_until(check, what=what, timeout=timeout, interval=interval)


def describe(pods: Sequence[core_pb2.Pod]) -> str:
    """Pods in a few words, for failures."""
    return "; ".join(
        f"{pod.metadata.name} on {pod.spec.node_name or 'no node'} {pod.status.phase}"
        f"{'' if is_ready(pod) else ' not ready'} {pod.status.reason}"
        for pod in pods
    )


def container_ids(pods: Sequence[core_pb2.Pod]) -> dict[str, str]:
    """The id of every container, by pod and container name."""
    return {
        f"{pod.metadata.name}/{status.name}": status.container_id
        for pod in pods
        for status in pod.status.container_statuses
    }


def restarts(pods: Sequence[core_pb2.Pod]) -> int:
    """How often containers were restarted."""
    return sum(status.restart_count for pod in pods for status in pod.status.container_statuses)
