"""Three etcd members as processes of this machine, with the same TLS that h9s has."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from benchmarks.etcd.messages import STATUS, etcd_pb2
from cluster.local.layout import HOST
from cluster.local.manager import ProcessError
from cluster.local.processes import ProcessRecord, start_detached, tail
from cluster.local.temporary import find_base_port
from cluster.local.waiting import wait_until
from h9s import pki
from h9s.client.grpc_transport import CHANNEL_OPTIONS
from h9s.clock import system_random
from h9s.config import ClientConfig
from h9s.errors import UnavailableError, UsageError

_MEMBERS = ("e1", "e2", "e3")


@dataclass
class EtcdCluster:
    """The members' addresses, and their processes by address."""

    config: ClientConfig
    commands: dict[str, list[str]]
    logs: dict[str, Path]
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the members serve clients."""
        return tuple(self.commands)

    def start(self, address: str) -> None:
        """Start a member, or start it again. Its data is kept."""
        self.processes[address] = start_detached(self.commands[address], log=self.logs[address])

    def kill(self, address: str) -> None:
        """SIGKILL to a member."""
        self.processes[address].signal(signal.SIGKILL)

    def stop(self) -> None:
        """End all members, without ceremony: their data is of no more use."""
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait(5.0)

    def check_alive(self) -> None:
        """Raise ProcessError, with the tail of its log, if a member has died."""
        for address, process in self.processes.items():
            if not process.is_alive():
                raise ProcessError(f"etcd at {address} has died:\n{tail(self.logs[address])}")

    async def leader(self) -> str:
        """The address of the member that leads. Raises UnavailableError if there is none."""
        for address in self.addresses:
            status = await self._status(address)
            if status is not None and status.leader and status.header.member_id == status.leader:
                return address
        raise UnavailableError("no etcd member says that it leads")

    async def missing_health(self) -> str:
        """Whether all members answer and agree on their leader."""
        leaders = set()
        for address in self.addresses:
            status = await self._status(address)
            if status is None:
                return f"an answer from etcd at {address}"
            leaders.add(status.leader)
        return "" if len(leaders) == 1 and 0 not in leaders else "a leader that all members agree on"

    async def _status(self, address: str) -> Any:
        pb = etcd_pb2()
        async with open_etcd_channel(address, self.config) as channel:
            call = channel.unary_unary(
                STATUS,
                request_serializer=pb.StatusRequest.SerializeToString,
                response_deserializer=pb.StatusResponse.FromString,
            )
            try:
                return await call(pb.StatusRequest(), timeout=2.0)
            except grpc.aio.AioRpcError:
                return None


def open_etcd_channel(address: str, config: ClientConfig) -> grpc.aio.Channel:
    """A channel with h9s's own options, but for the pings, which etcd takes for an attack."""
    credentials = grpc.ssl_channel_credentials(config.ca, config.key, config.certificate)
    options = [option for option in CHANNEL_OPTIONS if "keepalive" not in option[0]]
    options.append(("grpc.ssl_target_name_override", pki.APISERVER_NAME))
    return grpc.aio.secure_channel(address, credentials, options=options)


@asynccontextmanager
async def temporary_etcd(folder: Path) -> AsyncIterator[EtcdCluster]:
    """A cluster of its own, with its data in `folder`. Raises UsageError if etcd is not installed."""
    program = shutil.which("etcd")
    if program is None:
        raise UsageError("--peer needs etcd: apt-get install etcd-server")
    cluster = _configure(folder, program)
    try:
        for address in cluster.addresses:
            cluster.start(address)
        await wait_until(cluster.missing_health, what="etcd", timeout=30.0, watch=cluster.check_alive)
        yield cluster
    finally:
        cluster.stop()


def _configure(folder: Path, program: str) -> EtcdCluster:
    folder.mkdir(parents=True, exist_ok=True)
    ca = pki.create_ca("benchmark")
    server = pki.issue(
        ca,
        common_name="etcd",
        organization=pki.ROLE_REPLICA,
        dns_names=[pki.APISERVER_NAME, "localhost"],
        ip_addresses=[HOST],
        client=True,
        server=True,
    )
    server.save(folder / "server.crt", folder / "server.key")
    (folder / "ca.crt").write_bytes(ca.certificate)
    client = pki.issue(ca, common_name="benchmark", organization=pki.ROLE_ADMIN)
    base = find_base_port(workers=1, rng=system_random())
    ports = {name: base + 2 * number for number, name in enumerate(_MEMBERS)}
    initial = ",".join(f"{name}=https://{HOST}:{port + 1}" for name, port in ports.items())
    tls = [f"--trusted-ca-file={folder / 'ca.crt'}", f"--cert-file={folder / 'server.crt'}"]
    tls += [f"--key-file={folder / 'server.key'}"]
    peer_tls = [option.replace("--", "--peer-", 1) for option in tls]
    commands = {
        f"{HOST}:{port}": [
            program,
            f"--name={name}",
            f"--data-dir={folder / name}",
            f"--listen-client-urls=https://{HOST}:{port}",
            f"--advertise-client-urls=https://{HOST}:{port}",
            f"--listen-peer-urls=https://{HOST}:{port + 1}",
            f"--initial-advertise-peer-urls=https://{HOST}:{port + 1}",
            f"--initial-cluster={initial}",
            "--logger=zap",
            "--log-level=warn",
            "--client-cert-auth",
            "--peer-client-cert-auth",
            *tls,
            *peer_tls,
        ]
        for name, port in ports.items()
    }
    config = ClientConfig(
        servers=tuple(commands), ca=ca.certificate, certificate=client.certificate, key=client.key
    )
    logs = {f"{HOST}:{port}": folder / f"{name}.log" for name, port in ports.items()}
    return EtcdCluster(config, commands, logs)
