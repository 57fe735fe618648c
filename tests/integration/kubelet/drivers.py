"""Real runtimes for tests, each with a place of its own, and clean afterwards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from cluster.images.engine import ensure_images
from cluster.images.recipes import SHELL
from h9s.clock import SystemClock
from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.docker.labels import Owner
from h9s.kubelet.docker.runtime import DockerRuntime
from h9s.kubelet.observed import ObservedContainer, PodIdentity
from h9s.kubelet.process.runtime import ProcessRuntime
from h9s.kubelet.removal import remove_all_pods
from h9s.kubelet.runtime import ContainerConfig, ExecOptions, LogOptions, Runtime, SandboxConfig

CLOCK = SystemClock()
ENGINE = "unix:///var/run/docker.sock"
IMAGE = "busybox:1.37"


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 20.0) -> Any:
    """Wait for an asynchronous condition to give something true, and give that."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


async def listen(runtime: Runtime, heard: list[str]) -> None:
    """Note every event down until cancelled."""
    async with aclosing(runtime.events()) as events:
        async for uid in events:
            heard.append(uid)  # noqa: PERF401  the stream does not end


class Driver:
    """One runtime that can be opened several times over, as by one howbelet after another."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        #: Nobody else's containers carry it.
        self.cluster = f"test-{random.SystemRandom().getrandbits(48):012x}"
        if kind == "docker":
            ensure_images({IMAGE: SHELL})

    def new_runtime(self, *, node: str = "n1") -> Runtime:
        if self.kind == "docker":
            return DockerRuntime(Engine(ENGINE, clock=CLOCK), owner=Owner(self.cluster, node), clock=CLOCK)
        return ProcessRuntime(self._folder / node, addresses=self._folder / "addresses", clock=CLOCK)

    @asynccontextmanager
    async def opened(self, *, node: str = "n1", keep: bool = False) -> AsyncIterator[Runtime]:
        runtime = self.new_runtime(node=node)
        try:
            await runtime.prepare()
            yield runtime
        finally:
            if not keep:
                await remove_all_pods(runtime, clock=CLOCK, longest_grace=0.0)
            await runtime.close()


class Bench:
    """One pod on a runtime, and short ways to do things with it."""

    def __init__(self, runtime: Runtime, *, uid: str = "0a1b2c3d-test", name: str = "web") -> None:
        self.runtime = runtime
        self.pod = PodIdentity(uid, "default", name)
        self.sandbox_id = ""
        self.attempt = -1

    async def sandbox(self) -> str:
        self.sandbox_id = await self.runtime.create_sandbox(SandboxConfig(self.pod, 0, self.pod.name))
        return self.sandbox_id

    async def create(self, *command: str, **config: Any) -> str:
        if not self.sandbox_id:
            await self.sandbox()
        self.attempt += 1
        image = await self.runtime.ensure_image(IMAGE, "IfNotPresent", has_command=bool(command))
        wanted: dict[str, Any] = {"name": "main", "attempt": self.attempt, **config}
        return await self.runtime.create_container(
            ContainerConfig(
                pod=self.pod,
                sandbox_id=self.sandbox_id,
                image=IMAGE,
                image_id=image.id,
                command=command,
                **wanted,
            )
        )

    async def run(self, *command: str, **config: Any) -> str:
        container_id = await self.create(*command, **config)
        await self.runtime.start_container(container_id)
        return container_id

    async def look(self, container_id: str) -> ObservedContainer:
        observed = await self.runtime.observe(self.pod.uid)
        return next(container for container in observed.containers if container.id == container_id)

    async def ended(self, container_id: str) -> ObservedContainer:
        async def look() -> ObservedContainer | None:
            found = await self.look(container_id)
            return found if found.finished_at is not None else None

        found = await until(look)
        assert isinstance(found, ObservedContainer)
        return found

    async def output(self, container_id: str, **options: Any) -> bytes:
        return b"".join([piece async for piece in self.runtime.logs(container_id, LogOptions(**options))])

    async def exec(self, container_id: str, *command: str, stdin: bytes | None = None, **options: Any) -> Any:
        """(stdout, stderr, exit code)."""
        session = await self.runtime.exec(
            container_id, ExecOptions(command, stdin=stdin is not None, **options)
        )
        try:
            if stdin is not None:
                await session.write(stdin)
                if not options.get("tty"):
                    await session.close_stdin()
            pieces = [piece async for piece in session.output()]
            code = await session.exit_code()
        finally:
            await session.close()
        out = b"".join(piece.data for piece in pieces if not piece.is_stderr)
        err = b"".join(piece.data for piece in pieces if piece.is_stderr)
        return out, err, code
