"""A real apiserver on loopback over a store in memory, and everybody's certificates."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from h9s import pki
from h9s.apiserver.server import ApiServer, Pki
from h9s.apiserver.settings import PkiSettings, ReplicaSettings, Settings, Timings
from h9s.client import Client, RetryPolicy
from h9s.client.grpc_transport import open_channel
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.testing.memory_store import MemoryStore

CA = pki.create_ca("test")
CLOCK = SystemClock()
#: Client and server share one process here, and that the machine with other tests.
PATIENT = RetryPolicy(attempt_timeout=20.0, deadline=60.0)


class Serving:
    """The running server and ways to call it."""

    def __init__(self, server: ApiServer, store: MemoryStore) -> None:
        self.server = server
        self.store = store

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.api_port}"

    @property
    def join_address(self) -> str:
        return f"127.0.0.1:{self.server.join_port}"

    def config(
        self, name: str = "root", role: str = pki.ROLE_ADMIN, *, ca: pki.Credential = CA
    ) -> ClientConfig:
        credential = pki.issue(ca, common_name=name, organization=role)
        return ClientConfig(
            servers=(self.address,), ca=CA.certificate, certificate=credential.certificate, key=credential.key
        )

    def client(self, name: str = "root", role: str = pki.ROLE_ADMIN, *, cls: type[Any] = Client) -> Any:
        config = self.config(name, role)
        return cls(config, clock=CLOCK, rng=random.Random(), retry=PATIENT, name="test")

    def channel(self, name: str = "root", role: str = pki.ROLE_ADMIN) -> grpc.aio.Channel:
        return open_channel(self.address, self.config(name, role))


def settings(**timings: Any) -> Settings:
    nowhere = Path("/nowhere")
    return Settings(
        cluster_id="test",
        replica_id="r1",
        data_dir=nowhere,
        api_address="127.0.0.1:0",
        peer_address="127.0.0.1:0",
        metrics_address="",
        join_address="127.0.0.1:0",
        replicas=(ReplicaSettings("r1", "10.0.0.1:7400", "10.0.0.1:7401", "10.0.0.1:7403"),),
        pki=PkiSettings(nowhere, nowhere, nowhere, nowhere),
        timings=Timings(**timings),
    )


@asynccontextmanager
async def serving(administration: Any = None, **timings: Any) -> AsyncIterator[Serving]:
    """Serve until the block ends."""
    store = MemoryStore(clock=CLOCK)
    credential = pki.issue(
        CA, common_name="r1", organization=pki.ROLE_REPLICA, dns_names=[pki.APISERVER_NAME], server=True
    )
    server = ApiServer(
        store,
        settings=settings(**timings),
        pki=Pki(ca=CA, credential=credential),
        clock=CLOCK,
        rng=random.Random(),
        administration=administration,
    )
    started = asyncio.Event()
    running = asyncio.create_task(server.run(on_started=started.set))
    try:
        await _first(started.wait(), running)
        await until(lambda: store.revision >= 2)
        yield Serving(server, store)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _first(event: Any, running: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(event)
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
