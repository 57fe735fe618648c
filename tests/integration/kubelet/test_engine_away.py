"""The Docker Engine goes away and comes back, played by a relay on a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cluster.images.engine import ensure_images
from cluster.images.recipes import SHELL
from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.docker.labels import Owner
from h9s.kubelet.docker.runtime import DockerRuntime
from h9s.kubelet.observed import State
from h9s.kubelet.removal import remove_all_pods
from h9s.kubelet.runtime import RuntimeUnavailableError
from tests.integration.kubelet.drivers import CLOCK, IMAGE, Bench, Driver, listen, until

pytestmark = pytest.mark.docker


class Relay:
    """Passes bytes between its own socket and the engine's, while it is up."""

    def __init__(self, path):
        self._path = path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self):
        return f"unix://{self._path}"

    async def up(self):
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def down(self):
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        engine_reader, engine_writer = await asyncio.open_unix_connection("/var/run/docker.sock")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, engine_writer))
                group.create_task(_copy(engine_reader, writer))
        finally:
            self._tasks.discard(task)
            writer.close()
            engine_writer.close()


async def _copy(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def test_events_and_calls_come_back_with_the_engine(tmp_path):
    ensure_images({IMAGE: SHELL})
    relay = Relay(tmp_path / "docker.sock")
    await relay.up()
    driver = Driver("docker", tmp_path)
    owner = Owner(driver.cluster, "n1")
    runtime = DockerRuntime(Engine(relay.address, clock=CLOCK), owner=owner, clock=CLOCK)
    heard: list[str] = []

    listening = asyncio.create_task(listen(runtime, heard))
    try:
        await runtime.prepare()

        async def connected():
            return "" in heard

        await until(connected)
        bench = Bench(runtime)
        container_id = await bench.run("sleep", "1000")
        heard.clear()
        await relay.down()
        with pytest.raises(RuntimeUnavailableError):
            await runtime.observe(bench.pod.uid)
        # What happens meanwhile is not heard of, but seen afterwards.
        async with driver.opened(keep=True) as direct:
            await direct.kill_container(container_id)
        await relay.up()
        await until(connected, seconds=5)
        assert (await bench.look(container_id)).state is State.EXITED
        heard.clear()
        await runtime.remove_container(container_id)

        async def told():
            return bench.pod.uid in heard

        await until(told, seconds=3)
    finally:
        listening.cancel()
        await remove_all_pods(runtime, clock=CLOCK, longest_grace=0.0)
        await runtime.close()
        await relay.down()


async def test_without_an_engine_there_is_a_clear_error(tmp_path):
    runtime = DockerRuntime(
        Engine(f"unix://{tmp_path}/none.sock", clock=CLOCK), owner=Owner("x", "n1"), clock=CLOCK
    )
    with pytest.raises(RuntimeUnavailableError, match=r"no Docker Engine answers at unix://.*none\.sock"):
        await runtime.prepare()
    await runtime.close()
