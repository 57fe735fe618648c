"""Real apiservers on loopback, reached by one another through the proxy alone, on folders of their own.

Knows processes, files and addresses; what goes wrong and when is the business of `faults`.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.local.layout import HOST
from cluster.local.processes import ProcessRecord, start_detached, tail
from cluster.local.temporary import find_base_port
from h9s import pki
from h9s._pb import cluster_pb2
from h9s.apiserver import data_dir
from h9s.client.client import Client
from h9s.client.grpc_transport import GrpcTransport
from h9s.client.transport import STATUS
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.errors import H9sError
from tests.robustness.proxy import ProxiedNetwork

CLUSTER_ID = "robustness"
FOUNDERS = ("r1", "r2", "r3")
_PORTS_EACH = 10
_ASK_TIMEOUT = 2.0
#: How long replicas may take to agree or to catch up. On a busy machine everything takes its time.
PATIENCE_SECONDS = 180.0
_SMALL_DISK_BYTES = 512 << 20
_SMALL_DISK_RESERVE_BYTES = 64 << 20
_BALLAST = "ballast"
#: Of each replica; it has to hold a round.
_HISTORY_BYTES = 128 << 20
#: The library that makes a process believe in another time (Debian: libfaketime), where it is installed.
FAKE_CLOCK = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class ReplicaError(AssertionError):
    """A replica did what it must not: died by itself, or did not come up."""


@dataclass
class Replica:
    """One apiserver: its ports, its files, its process."""

    id: str
    folder: Path
    first_port: int
    program: Path
    #: Whether it is meant to run.
    should_run: bool = False
    #: Whether its death is what a fault is about to bring.
    may_die: bool = False
    #: How far its wall clock is from the machine's when it is started next.
    clock_offset_seconds: int = 0
    #: Whether it takes part in the cluster.
    is_member: bool = True
    record: ProcessRecord | None = None
    #: Of its configuration, beside what every replica has.
    settings: dict[str, Any] = field(default_factory=dict)
    #: Whether its data are on a small disk of their own, which can be filled.
    has_small_disk: bool = False

    @property
    def api_address(self) -> str:
        """Where clients reach it."""
        return f"{HOST}:{self.first_port}"

    @property
    def peer_port(self) -> int:
        """Where it listens for the others."""
        return self.first_port + 1

    @property
    def proxy_port(self) -> int:
        """Where the others are told to reach it."""
        return self.first_port + 4

    @property
    def data_dir(self) -> Path:
        """What it must not lose."""
        return self.folder / "data"

    @property
    def config_file(self) -> Path:
        """What it is started with."""
        return self.folder / "apiserver.yaml"

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self.folder / "log.txt"

    @property
    def is_up(self) -> bool:
        """Whether the process exists."""
        return self.record is not None and self.record.is_alive()

    def tail(self, lines: int = 12) -> str:
        """The last that it said."""
        return tail(self.log_file, lines)


class Replicas:
    """The apiservers of one cluster below one folder."""

    def __init__(
        self, folder: Path, *, timings: dict[str, Any] | None = None, fake_clocks: bool = False
    ) -> None:
        self.folder = folder
        self.fake_clocks = fake_clocks and FAKE_CLOCK is not None
        self._timings = timings or {}
        self._rng = system_random()
        self._base_port = find_base_port(workers=4, rng=self._rng)
        self._ca = pki.create_ca("robustness")
        self.network = ProxiedNetwork(pids=self._pids)
        self.replicas: dict[str, Replica] = {}
        #: Where the API of every replica is that ever took part.
        self.addresses: dict[str, str] = {}
        self._admin = pki.issue(self._ca, common_name="admin", organization=pki.ROLE_ADMIN, client=True)
        self.transport = GrpcTransport(self.client_config())

    # --- making --------------------------------------------------------------------------------

    async def add(self, replica_id: str, *, program: Path | None = None) -> Replica:
        """Make a replica's certificates and put the proxy in front of it; configures and starts nothing."""
        folder = self.folder / replica_id
        folder.mkdir(parents=True)
        number = len(self.replicas)
        replica = Replica(
            id=replica_id,
            folder=folder,
            first_port=self._base_port + _PORTS_EACH * number,
            program=program or Path(sys.executable).parent / "howbe-apiserver",
        )
        credential = pki.issue(
            self._ca,
            common_name=replica_id,
            organization=pki.ROLE_REPLICA,
            dns_names=[pki.APISERVER_NAME],
            ip_addresses=[HOST],
            client=True,
            server=True,
        )
        self._ca.save(folder / "ca.crt", folder / "ca.key")
        credential.save(folder / "replica.crt", folder / "replica.key")
        self.replicas[replica_id] = replica
        self.addresses[replica_id] = replica.api_address
        await self.network.listen(replica_id, port=replica.proxy_port, target_port=replica.peer_port)
        return replica

    def configure(self, replica: Replica, *, members: Iterable[str] = FOUNDERS) -> None:
        """Write the replica's configuration."""
        document = {
            "clusterId": CLUSTER_ID,
            "replicaId": replica.id,
            "dataDir": str(replica.data_dir),
            "apiAddress": replica.api_address,
            "peerAddress": f"{HOST}:{replica.peer_port}",
            "historyMaxBytes": _HISTORY_BYTES,
            "replicas": [
                {
                    "id": member,
                    "apiAddress": self.replicas[member].api_address,
                    "peerAddress": self.peer_address(member),
                }
                for member in members
            ],
            "pki": {
                "ca": str(replica.folder / "ca.crt"),
                "caKey": str(replica.folder / "ca.key"),
                "certificate": str(replica.folder / "replica.crt"),
                "key": str(replica.folder / "replica.key"),
            },
            **({"timings": self._timings} if self._timings else {}),
            **replica.settings,
        }
        replica.config_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def give_small_disk(self, replica: Replica) -> bool:
        """Put its data on a disk that is easily filled; whether that can be done here."""
        replica.data_dir.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={_SMALL_DISK_BYTES}", "tmpfs", str(replica.data_dir)]
        try:
            done = subprocess.run(["mount", *options], capture_output=True, timeout=30, check=False)
        except OSError:
            return False
        replica.has_small_disk = done.returncode == 0
        if replica.has_small_disk:
            replica.settings["diskReserveBytes"] = _SMALL_DISK_RESERVE_BYTES
        return replica.has_small_disk

    def fill_disk(self, replica_id: str, *, leave_bytes: int) -> None:
        """Take the space on its small disk, but for so much."""
        data_dir = self.replicas[replica_id].data_dir
        with (data_dir / _BALLAST).open("wb") as file:
            for _ in range(10):
                stat = os.statvfs(data_dir)
                free = stat.f_bavail * stat.f_frsize
                # The replica goes on writing meanwhile, and may be faster.
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, max(1, free - leave_bytes))
                    return
                file.truncate(0)

    def empty_disk(self, replica_id: str) -> None:
        """Give the space back."""
        (self.replicas[replica_id].data_dir / _BALLAST).unlink(missing_ok=True)

    def clear_data(self, replica_id: str) -> None:
        """Its disk is lost: an empty one takes its place."""
        data_dir = self.replicas[replica_id].data_dir
        data_dir.mkdir(exist_ok=True)
        for path in data_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def run_program(self, replica: Replica, command: str, *arguments: str) -> str:
        """Run `howbe-apiserver COMMAND` for the replica to its end; what it said. Raises ReplicaError."""
        done = subprocess.run(
            [str(replica.program), command, "--config", str(replica.config_file), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise ReplicaError(f"{command} of {replica.id} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    # --- processes -----------------------------------------------------------------------------

    def start(self, replica_id: str) -> None:
        """Start its process."""
        replica = self.replicas[replica_id]
        if replica.is_up:
            return
        environment = []
        if replica.clock_offset_seconds:
            offset = f"FAKETIME={replica.clock_offset_seconds:+}s"
            keep = "FAKETIME_DONT_FAKE_MONOTONIC=1"
            environment = ["/usr/bin/env", f"LD_PRELOAD={FAKE_CLOCK}", offset, keep]
        command = [*environment, str(replica.program), "serve", "--config", str(replica.config_file)]
        replica.record = start_detached(command, log=replica.log_file)
        replica.should_run = True
        replica.may_die = False

    def signal(self, replica_id: str, number: signal.Signals) -> None:
        """Send it a signal."""
        record = self.replicas[replica_id].record
        if record is not None:
            record.signal(number)

    async def kill(self, *replica_ids: str) -> None:
        """SIGKILL, all at once, and wait until they are gone."""
        for replica_id in replica_ids:
            self.replicas[replica_id].should_run = False
            self.signal(replica_id, signal.SIGKILL)
        for replica_id in replica_ids:
            await self.gone(replica_id)

    async def stop(self, replica_id: str) -> None:
        """SIGTERM, and wait until it is gone."""
        self.replicas[replica_id].should_run = False
        self.signal(replica_id, signal.SIGTERM)
        self.signal(replica_id, signal.SIGCONT)
        await self.gone(replica_id)

    async def gone(self, replica_id: str, *, timeout: float = 30.0) -> None:
        """Wait until its process has ended. Raises ReplicaError."""
        replica = self.replicas[replica_id]
        async with asyncio.timeout(timeout):
            while replica.is_up:
                await asyncio.sleep(0.01)

    def stop_all(self) -> None:
        """End every process, by force."""
        for replica in self.replicas.values():
            if replica.record is not None:
                replica.record.signal(signal.SIGKILL)
        for replica in self.replicas.values():
            if replica.record is not None:
                replica.record.wait(10.0)
            if replica.has_small_disk:
                replica.has_small_disk = False
                subprocess.run(["umount", str(replica.data_dir)], timeout=30, check=True)

    def unexpected_deaths(self) -> list[str]:
        """Who should run and does not, and what it said last."""
        return [
            f"{replica.id} has died:\n{replica.tail()}"
            for replica in self.replicas.values()
            if replica.should_run and not replica.may_die and not replica.is_up
        ]

    async def is_voter(self, replica_id: str) -> bool:
        """Whether the leader counts on this replica again."""
        leader = await self.leader()
        status = await self.status(leader) if leader else None
        if status is None:
            return False
        life = data_dir.read(self.replicas[replica_id].data_dir).incarnation
        return any(
            (one.id, one.incarnation) == (replica_id, life) and one.voter and one.caught_up
            for one in status.replicas
        )

    def _pids(self) -> dict[int, str]:
        return {one.record.pid: one.id for one in self.replicas.values() if one.record is not None}

    # --- asking --------------------------------------------------------------------------------

    @property
    def running(self) -> list[str]:
        """Who should run."""
        return [replica.id for replica in self.replicas.values() if replica.should_run]

    def client_config(self) -> ClientConfig:
        """An administrator's way in."""
        return ClientConfig(
            servers=tuple(self.addresses.values()),
            ca=self._ca.certificate,
            certificate=self._admin.certificate,
            key=self._admin.key,
        )

    def client(self, rng: random.Random) -> Client:
        """An administrator's client."""
        own = random.Random(rng.getrandbits(64))
        return Client(self.client_config(), clock=SystemClock(), rng=own, name="robustness")

    def peer_address(self, replica_id: str) -> str:
        """Where the others reach it: at the proxy."""
        return f"{HOST}:{self.replicas[replica_id].proxy_port}"

    async def status(self, replica_id: str) -> cluster_pb2.ClusterStatusResponse | None:
        """What a replica says of itself; None if it does not answer."""
        request = cluster_pb2.ClusterStatusRequest()
        try:
            return await self.transport.unary(
                self.replicas[replica_id].api_address, STATUS, request, timeout=_ASK_TIMEOUT
            )
        except H9sError:
            return None

    async def statuses(self) -> dict[str, cluster_pb2.ClusterStatusResponse]:
        """What those that run say; who does not answer is left out."""
        names = self.running
        answers = await asyncio.gather(*(self.status(name) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def leader(self) -> str:
        """Who leads, of those that say so the one of the latest term; empty if nobody."""
        leaders = [(one.term, name) for name, one in (await self.statuses()).items() if one.role == "leader"]
        return max(leaders)[1] if leaders else ""

    async def await_level(self, *, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until all that should run answer, agree on a leader, and have applied the same.

        Raises ReplicaError with what is missing, also if a replica has died.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while missing := await self._missing():
            if deaths := self.unexpected_deaths():
                raise ReplicaError("; ".join(deaths))
            if loop.time() > deadline:
                raise ReplicaError(f"not level after {timeout:g} s: {missing}")
            await asyncio.sleep(0.05)

    async def is_whole(self) -> bool:
        """Whether all that should run answer and agree on a leader."""
        statuses = await self.statuses()
        leaders = {(one.leader_id, one.term) for one in statuses.values()}
        return len(statuses) == len(self.running) and len(leaders) == 1 and bool(next(iter(leaders))[0])

    async def _missing(self) -> str:
        statuses = await self.statuses()
        silent = [name for name in self.running if name not in statuses]
        if silent:
            return f"no answer from {', '.join(silent)}"
        leaders = {(one.leader_id, one.term) for one in statuses.values()}
        if len(leaders) != 1 or not next(iter(leaders))[0]:
            return f"no leader that all agree on: {leaders}"
        applied = {name: (one.applied_index, one.revision) for name, one in statuses.items()}
        if len(set(applied.values())) != 1:
            return f"applied index and revision differ: {applied}"
        return ""


@asynccontextmanager
async def real_replicas(folder: Path, **settings: Any) -> AsyncIterator[Replicas]:
    """Three apiservers that are up and agree; ended, whatever happens, with the block."""
    replicas = Replicas(folder, **settings)
    try:
        for replica_id in FOUNDERS:
            await replicas.add(replica_id)
        replicas.give_small_disk(replicas.replicas[FOUNDERS[-1]])
        for replica_id in FOUNDERS:
            replicas.configure(replicas.replicas[replica_id])
            replicas.run_program(replicas.replicas[replica_id], "init")
            replicas.start(replica_id)
        await replicas.await_level()
        yield replicas
    finally:
        replicas.stop_all()
        await replicas.network.close()
        await replicas.transport.close()
