"""Several servers behind one port: all are reached, and nobody else gets in."""

import socket
from typing import Any

import grpc.aio
import pytest

from h9s.apiserver.listeners import Listeners
from h9s.errors import UsageError

METHOD = "/test.Who/Who"


def listen(address, *, served, servers=4):
    """`served` is given a number for each server, which answers with it."""

    def add_services(server):
        number = b"%d" % len(served)
        served.append(number)

        async def who(_request, _context):
            return number

        handler = grpc.method_handlers_generic_handler(
            "test.Who", {"Who": grpc.unary_unary_rpc_method_handler(who)}
        )
        server.add_generic_rpc_handlers((handler,))

    return Listeners(
        address,
        field="apiAddress",
        credentials=grpc.local_server_credentials(),
        options=(),
        add_services=add_services,
        servers=servers,
    )


async def ask(port):
    options = (("grpc.use_local_subchannel_pool", 1),)
    credentials = grpc.local_channel_credentials()
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        call: Any = channel.unary_unary(METHOD)
        return await call(b"", timeout=10)


async def test_connections_reach_all_servers_of_the_port():
    served: list[bytes] = []
    listeners = listen("127.0.0.1:0", served=served)
    await listeners.start()
    try:
        found = set()
        for _ in range(400):
            found.add(await ask(listeners.port))
            if found == set(served):
                break
        assert found == set(served)
        assert len(served) == 4
    finally:
        await listeners.stop(grace=0)


async def test_a_port_that_somebody_listens_on_is_refused_although_it_could_be_shared():
    first = listen("127.0.0.1:0", served=[])
    await first.start()
    try:
        with pytest.raises(UsageError, match=f"cannot listen on apiAddress 127.0.0.1:{first.port}"):
            listen(f"127.0.0.1:{first.port}", served=[])
    finally:
        await first.stop(grace=0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="apiAddress"):
            listen(f"127.0.0.1:{other.getsockname()[1]}", served=[])
