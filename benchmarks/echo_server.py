"""Runs the echo service as a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.targets import ECHO_METHOD
from cluster.local.layout import HOST, Layout
from cluster.local.manager import ProcessError
from cluster.local.processes import start_detached, tail
from cluster.local.temporary import find_base_port
from cluster.local.waiting import wait_until
from h9s.client.grpc_transport import open_channel
from h9s.clock import system_random
from h9s.config import ClientConfig

_ROOT = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def echo_server(folder: Path, layout: Layout) -> AsyncIterator[str]:
    """Serve with a replica's certificate; gives the address. Ends with the block."""
    address = f"{HOST}:{find_base_port(workers=1, rng=system_random())}"
    log = folder / "echo.log"
    certificates = [str(layout.pki_dir / name) for name in ("r1.crt", "r1.key", "ca.crt")]
    command = ["/usr/bin/env", f"PYTHONPATH={_ROOT}", sys.executable, "-P", "-m", "benchmarks.echo"]
    process = start_detached([*command, address, *certificates], log=log)
    config = ClientConfig.load(layout.admin_config)

    async def missing() -> str:
        async with open_channel(address, config) as channel:
            call: Any = channel.unary_unary(ECHO_METHOD)
            try:
                await call(b"", timeout=1.0)
            except grpc.aio.AioRpcError as error:
                return f"an answer from {address}: {error.details()}"
        return ""

    def check_alive() -> None:
        if not process.is_alive():
            raise ProcessError(f"the echo service has died:{os.linesep}{tail(log)}")

    try:
        await wait_until(missing, what="the echo service", timeout=15.0, watch=check_alive)
        yield address
    finally:
        process.stop(grace=1.0)
