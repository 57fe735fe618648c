"""An apiserver with its store in memory, as a process: `python -m ...memory_apiserver DIR`.

Writes `howbectl.yaml` into the folder, says "ready", and serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from h9s import pki
from h9s.apiserver.server import ApiServer, Pki
from h9s.apiserver.settings import PkiSettings, ReplicaSettings, Settings, Timings
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.testing.memory_store import MemoryStore


def main() -> None:
    folder = Path(sys.argv[1])
    ca = pki.create_ca("test")
    replica = pki.issue(
        ca,
        common_name="r1",
        organization="h9s:replica",
        dns_names=["h9s-apiserver"],
        ip_addresses=["127.0.0.1"],
        server=True,
    )
    paths = PkiSettings(*(folder / name for name in ("ca.crt", "ca.key", "r1.crt", "r1.key")))
    ca.save(paths.ca, paths.ca_key)
    replica.save(paths.certificate, paths.key)
    settings = Settings(
        cluster_id="test",
        replica_id="r1",
        data_dir=folder,
        api_address="127.0.0.1:0",
        peer_address="127.0.0.1:1",
        metrics_address="",
        join_address="127.0.0.1:0",
        replicas=(ReplicaSettings("r1", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:7403"),),
        pki=paths,
        timings=Timings(),
    )
    clock = SystemClock()
    admin = pki.issue(ca, common_name="admin", organization="h9s:admin")

    async def serve() -> None:
        server = ApiServer(
            MemoryStore(clock=clock), settings=settings, pki=Pki.load(paths), clock=clock, rng=random.Random()
        )

        def started() -> None:
            config = ClientConfig(
                servers=(f"127.0.0.1:{server.api_port}",),
                ca=ca.certificate,
                certificate=admin.certificate,
                key=admin.key,
            )
            config.save(folder / "howbectl.yaml")
            print("ready", flush=True)

        await server.run(on_started=started)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
