"""The ports of an apiserver: several gRPC servers behind one address, with the same services.

A `grpc.aio` server takes the calls that wait for it one by one, each with a turn of the event loop in
between. While many clients write at once, those turns are long, and calls queue up where nobody sees
them instead of sharing a log entry. The kernel spreads connections over all sockets of a port
(SO_REUSEPORT), so several servers take several calls a turn.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from h9s.errors import UsageError
from h9s.raft.links import split_address

#: Enough that calls do not queue behind one another with a hundred clients; each costs a socket.
_SERVERS = 8
_SHARED = "grpc.so_reuseport"

AddServices = Callable[[Any], None]


class Listeners:
    """One address, and what is served there. `port` is where it listens, also if the address said 0."""

    def __init__(
        self,
        address: str,
        *,
        field: str,
        credentials: grpc.ServerCredentials,
        options: Sequence[tuple[str, Any]],
        add_services: AddServices,
        servers: int = _SERVERS,
    ) -> None:
        """`field` is what the configuration calls the address. Raises UsageError if it cannot be had."""
        options = [option for option in options if option[0] != _SHARED]
        options.append((_SHARED, int(servers > 1)))
        self._servers = [grpc.aio.server(options=options) for _ in range(servers)]
        host = address.rpartition(":")[0]
        self.port = 0
        try:
            _require_free(address)
            for server in self._servers:
                add_services(_Unregistered(server))
                self.port = server.add_secure_port(
                    f"{host}:{self.port}" if self.port else address, credentials
                )
        except (OSError, RuntimeError) as error:
            raise UsageError(f"cannot listen on {field} {address}: {error}") from error

    async def start(self) -> None:
        """Take calls."""
        for server in self._servers:
            await server.start()

    async def stop(self, *, grace: float) -> None:
        """Take no more calls; those under way get `grace` seconds."""
        await asyncio.gather(*(server.stop(grace) for server in self._servers))


class _Unregistered:
    """Services found by name. A server waits for each *registered* method anew at every call, which costs
    more than looking a name up."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Generated code offers them also by name."""


def _require_free(address: str) -> None:
    """Sockets that share a port would share it with another process too, silently."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        # Binding alone does not collide with a socket that is bound, reusable, and listens.
        probe.listen(1)
