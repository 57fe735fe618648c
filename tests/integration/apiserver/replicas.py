"""`howbe-apiserver` as processes, for the tests of whole replicas."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import urllib.request

import yaml

from h9s import pki
from h9s._pb import cluster_pb2, cluster_pb2_grpc
from h9s.client import Client
from h9s.client.grpc_transport import open_channel
from h9s.clock import SystemClock
from h9s.config import ClientConfig

#: The tree's own version.
PROGRAM = (sys.executable, "-m", "h9s.apiserver")


class Replicas:
    """Three configured replicas in a folder, and the processes that were started."""

    def __init__(self, folder, *, count=3, cluster_id="test", settings=None):
        """`settings`: further fields of every configuration."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.processes = {}
        #: What runs a replica, where it is not the tree's own version.
        self.programs = {}
        ca = pki.create_ca("test")
        ca.save(folder / "ca.crt", folder / "ca.key")
        self.ids = [f"r{i + 1}" for i in range(count)]
        ports = iter(free_ports(4 * count))
        replicas = [
            {"id": name, **{field: f"127.0.0.1:{next(ports)}" for field in ("apiAddress", "peerAddress")}}
            for name in self.ids
        ]
        #: As every configuration lists them.
        self.members = replicas
        self.metrics_addresses = {}
        self.addresses = {replica["id"]: replica["apiAddress"] for replica in replicas}
        for replica in replicas:
            name = replica["id"]
            credential = pki.issue(
                ca,
                common_name=name,
                organization=pki.ROLE_REPLICA,
                dns_names=[pki.APISERVER_NAME],
                server=True,
            )
            credential.save(folder / f"{name}.crt", folder / f"{name}.key")
            files = {"ca": "ca.crt", "caKey": "ca.key", "certificate": f"{name}.crt", "key": f"{name}.key"}
            document = {
                "clusterId": cluster_id,
                "replicaId": name,
                "dataDir": f"{name}-data",
                "apiAddress": replica["apiAddress"],
                "peerAddress": replica["peerAddress"],
                "metricsAddress": f"127.0.0.1:{next(ports)}",
                "joinAddress": f"127.0.0.1:{next(ports)}",
                "replicas": replicas,
                "pki": files,
                **(settings or {}),
            }
            self.metrics_addresses[name] = document["metricsAddress"]
            self.config_file(name).write_text(yaml.safe_dump(document))
        admin = pki.issue(ca, common_name="root", organization=pki.ROLE_ADMIN)
        self.config = ClientConfig(
            servers=tuple(self.addresses.values()),
            ca=ca.certificate,
            certificate=admin.certificate,
            key=admin.key,
        )

    def config_file(self, name):
        return self.folder / f"{name}.yaml"

    def data_dir(self, name):
        return self.folder / f"{name}-data"

    async def init(self):
        for name in self.ids:
            code, output = await self.run("init", name)
            assert code == 0, output

    async def run(self, command, name, *arguments):
        """Run a command to its end: (exit code, output)."""
        process = await self._spawn(command, name, asyncio.subprocess.PIPE, *arguments)
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    async def start(self, *names):
        for name in names:
            log = (self.folder / f"{name}.log").open("ab")
            self.processes[name] = await self._spawn("serve", name, log)
            log.close()

    async def stop(self, *names, with_signal=signal.SIGTERM):
        for name in names:
            self.processes[name].send_signal(with_signal)
        return [await self.processes.pop(name).wait() for name in names]

    async def kill(self):
        """End every process at once."""
        await self.stop(*list(self.processes), with_signal=signal.SIGKILL)

    def client(self, *, servers=None):
        config = self.config if servers is None else ClientConfig(**{**vars(self.config), "servers": servers})
        return Client(config, clock=SystemClock(), rng=random.Random(), name="test")

    async def status(self, name):
        async with open_channel(self.addresses[name], self.config) as channel:
            return await cluster_pb2_grpc.ClusterStub(channel).Status(
                cluster_pb2.ClusterStatusRequest(), timeout=5
            )

    async def leader(self):
        while True:
            for name in self.processes:
                with contextlib.suppress(Exception):
                    if (await self.status(name)).role == "leader":
                        return name
            await asyncio.sleep(0.05)

    def logs(self):
        return "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    async def _spawn(self, command, name, output, *arguments):
        return await asyncio.create_subprocess_exec(
            *self.programs.get(name, PROGRAM),
            command,
            "--config",
            str(self.config_file(name)),
            *map(str, arguments),
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def read(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
