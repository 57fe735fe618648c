"""A howbelet's process beside a real apiserver."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from h9s import pki
from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.api import pods
from h9s.client import Client
from h9s.config import ClientConfig
from h9s.errors import NotFoundError
from tests.integration.apiserver.serving import CA, Serving, serving
from tests.integration.kubelet.drivers import until


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def make_pod(name: str, *containers: core_pb2.Container, **spec: object) -> core_pb2.Pod:
    return core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default"),
        spec=core_pb2.PodSpec(
            containers=containers,
            node_name="n1",
            termination_grace_period_seconds=1,
            **spec,  # type: ignore[arg-type]
        ),
    )


class Live:
    """One node. `howbelet` is its process while it runs."""

    def __init__(self, cluster: Serving, client: Client, runtime: str, folder: Path) -> None:
        self.cluster = cluster
        self.client = client
        self.folder = folder
        self.port, self.metrics_port = free_ports(2)
        self.howbelet: asyncio.subprocess.Process | None = None
        self.log = folder / "howbelet.log"
        self.runtime = runtime
        self.config_file = folder / "client.yaml"
        credential = pki.issue(
            CA,
            common_name="n1",
            organization=pki.ROLE_NODE,
            dns_names=[pki.HOWBELET_NAME],
            server=True,
        )
        ClientConfig(
            servers=(cluster.address,),
            ca=CA.certificate,
            certificate=credential.certificate,
            key=credential.key,
        ).save(self.config_file)

    async def command(self, *further: str) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "h9s.kubelet"),
                *("--client-config", str(self.config_file)),
                *("--node-name", "n1", "--data-dir", str(self.folder / "data"), "--runtime", self.runtime),
                *("--address", "127.0.0.1", "--port", str(self.port)),
                *("--metrics-address", f"127.0.0.1:{self.metrics_port}"),
                *("--restart-backoff", "1", "2", "--resync-seconds", "1"),
                *further,
                stdout=log,
                stderr=log,
                env={**os.environ, "H9S_LOG_LEVEL": "INFO"},
            )

    async def start(self) -> None:
        self.howbelet = await self.command()

        async def is_ready() -> bool:
            assert self.howbelet is not None
            assert self.howbelet.returncode is None, self.log.read_text()
            try:
                node = await self.client.get(core_pb2.Node, "n1")
            except NotFoundError:
                return False
            return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)

        await until(is_ready)

    async def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        process, self.howbelet = self.howbelet, None
        assert process is not None
        process.terminate()
        return await process.wait()

    async def kill(self) -> None:
        process, self.howbelet = self.howbelet, None
        assert process is not None
        process.kill()
        await process.wait()

    async def remove_pods(self) -> int:
        return await (await self.command("--remove-pods", "--longest-grace", "0")).wait()

    async def pod(self, name: str) -> core_pb2.Pod:
        return await self.client.get(core_pb2.Pod, name)

    async def until_pod(self, name: str, condition: Callable[[core_pb2.Pod], object]) -> core_pb2.Pod:
        async def look() -> core_pb2.Pod | None:
            pod = await self.pod(name)
            return pod if condition(pod) else None

        try:
            found = await until(look)
        except TimeoutError:
            raise AssertionError(f"{await self.pod(name)}\n{self.log.read_text()}") from None
        assert isinstance(found, core_pb2.Pod)
        return found

    async def run(self, pod: core_pb2.Pod) -> core_pb2.Pod:
        await self.client.create(pod)
        return await self.until_pod(pod.metadata.name, pods.is_ready)

    async def logs(self, pod: str, **options: object) -> bytes:
        request = api_pb2.LogsRequest(namespace="default", pod=pod, **options)  # type: ignore[arg-type]
        return b"".join([answer.data async for answer in self.client.logs(request)])

    async def exec(self, pod: str, *command: str, stdin: bytes | None = None) -> tuple[bytes, bytes, int]:
        start = api_pb2.ExecRequest.Start(
            namespace="default", pod=pod, command=command, stdin=stdin is not None
        )
        call = await self.client.exec(start)
        if stdin is not None:
            await call.write(api_pb2.ExecRequest(stdin=stdin))
            await call.write(api_pb2.ExecRequest(stdin_eof=True))
        out, err = b"", b""
        while (answer := await call.read()) is not None:
            out += answer.stdout
            err += answer.stderr
            if answer.HasField("exit_code"):
                return out, err, answer.exit_code
        raise AssertionError("no exit code came")

    async def gone(self, name: str) -> None:
        async def look() -> bool:
            try:
                await self.pod(name)
            except NotFoundError:
                return True
            return False

        await until(look)


@asynccontextmanager
async def living(runtime: str, folder: Path) -> AsyncIterator[Live]:
    """A node that runs; nothing of it is left afterwards."""
    async with serving() as cluster, cluster.client() as client:
        live = Live(cluster, client, runtime, folder)
        try:
            await live.start()
            yield live
        finally:
            if live.howbelet is not None:
                await live.stop()
            code = await live.remove_pods()
            assert code == 0, live.log.read_text()
