"""`howbe-apiserver` as processes: one alone, and three that survive the loss of one."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import urllib.request
from contextlib import aclosing

import pytest
import yaml

from h9s import pki
from h9s._pb import cluster_pb2, cluster_pb2_grpc
from h9s.client import Client, operations
from h9s.client.grpc_transport import open_channel
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from tests.unit.apiserver.support import lease


class Replicas:
    """Three configured replicas in a folder, and the processes that were started."""

    def __init__(self, folder, *, count=3):
        self.folder = folder
        self.processes = {}
        ca = pki.create_ca("test")
        ca.save(folder / "ca.crt", folder / "ca.key")
        self.ids = [f"r{i + 1}" for i in range(count)]
        ports = iter(free_ports(4 * count))
        replicas = [
            {"id": name, **{field: f"127.0.0.1:{next(ports)}" for field in ("apiAddress", "peerAddress")}}
            for name in self.ids
        ]
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
                "clusterId": "test",
                "replicaId": name,
                "dataDir": f"{name}-data",
                "apiAddress": replica["apiAddress"],
                "peerAddress": replica["peerAddress"],
                "metricsAddress": f"127.0.0.1:{next(ports)}",
                "joinAddress": f"127.0.0.1:{next(ports)}",
                "replicas": replicas,
                "pki": files,
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

    async def run(self, command, name):
        """Run a command to its end: (exit code, output)."""
        process = await self._spawn(command, name, asyncio.subprocess.PIPE)
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

    async def _spawn(self, command, name, output):
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "h9s.apiserver",
            command,
            "--config",
            str(self.config_file(name)),
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


@pytest.fixture
async def replicas(tmp_path):
    replicas = Replicas(tmp_path)
    try:
        async with asyncio.timeout(60):
            for name in replicas.ids:
                assert (await replicas.run("init", name))[0] == 0
            yield replicas
    finally:
        await replicas.stop(*list(replicas.processes), with_signal=signal.SIGKILL)


async def test_a_replica_starts_only_on_its_own_initialized_folder(tmp_path):
    replicas = Replicas(tmp_path)
    code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert "is not initialized: run `howbe-apiserver init`" in output
    code, output = await replicas.run("init", "r1")
    assert code == 0
    assert "initialized" in output
    code, output = await replicas.run("init", "r1")
    assert code == 2
    assert "initialized already" in output
    document = yaml.safe_load(replicas.config_file("r1").read_text())
    replicas.config_file("r1").write_text(yaml.safe_dump({**document, "clusterId": "other"}))
    code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert "another's data" in output


async def test_a_port_that_is_taken_is_named(replicas):
    host, _, port = replicas.addresses["r1"].rpartition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert f"cannot listen on apiAddress {host}:{port}" in output


async def test_a_write_through_any_address_reaches_a_watcher_at_another(replicas):
    await replicas.start(*replicas.ids)
    leader = await replicas.leader()
    followers = [replicas.addresses[name] for name in replicas.ids if name != leader]
    async with (
        replicas.client(servers=(followers[0],)) as writer,
        replicas.client(servers=(followers[1],)) as watcher,
    ):
        await writer.create(lease("l0"))
        start = (await watcher.list(type(lease()))).revision
        async with aclosing(watcher.watch(type(lease()), after_revision=start)) as watch:
            await writer.commit([operations.create(lease(f"l{i}")) for i in (1, 2)])
            async for batch in watch:
                if batch.events:
                    break
        assert [event.object.metadata.name for event in batch.events] == ["l1", "l2"]
    figures = await asyncio.to_thread(read, f"http://{replicas.metrics_addresses[leader]}/metrics")
    assert 'h9s_apiserver_request_seconds_count{code="OK",method="Commit"}' in figures
    assert 'h9s_apiserver_commits_total{result="OK"}' in figures


async def test_nothing_is_lost_when_the_leader_dies_or_all_do(replicas):
    await replicas.start(*replicas.ids)
    leader = await replicas.leader()
    async with replicas.client() as client:
        names = [f"l{i:03}" for i in range(60)]
        writing = asyncio.gather(*(client.create(lease(name)) for name in names))
        await asyncio.sleep(0.05)
        await replicas.stop(leader, with_signal=signal.SIGKILL)
        created = await writing
        assert len({each.metadata.resource_version for each in created}) == 60
        assert [item.metadata.name for item in (await client.list(type(lease()))).items] == names
        await replicas.start(leader)
        await client.create(lease("m"))
        await replicas.stop(*replicas.ids, with_signal=signal.SIGKILL)
        await replicas.start(*replicas.ids)
        found = (await client.list(type(lease()))).items
        assert [item.metadata.name for item in found] == [*names, "m"]
    assert await replicas.stop(*replicas.ids) == [0, 0, 0], replicas.logs()
