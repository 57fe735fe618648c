"""The network between real replicas does what faults ask of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from cluster.local.temporary import find_base_port
from h9s.clock import system_random
from tests.robustness.proxy import ProxiedNetwork, owner_of


@asynccontextmanager
async def echo():
    """A server that repeats what it is told, and the proxy in front of it; both of this process."""
    base = find_base_port(workers=1, rng=system_random())
    # This process is r1 on both ends: what is dialled is a connection of r1 to r2.
    network = ProxiedNetwork(pids=lambda: {os.getpid(): "r1"})

    async def repeat(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(repeat, "127.0.0.1", base)
    await network.listen("r2", port=base + 1, target_port=base)
    try:
        yield network, base + 1
    finally:
        await network.close()
        server.close()


@asynccontextmanager
async def connection(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answers(reader, writer, text=b"hello", *, within=5.0):
    writer.write(text)
    try:
        async with asyncio.timeout(within):
            return await reader.readexactly(len(text)) == text
    except TimeoutError:
        return False


async def test_it_carries():
    async with echo() as (network, port), connection(port) as (reader, writer):
        assert await answers(reader, writer)
        assert network.carried == 1


@pytest.mark.parametrize("direction", [("r1", "r2"), ("r2", "r1")])
async def test_a_direction_that_is_held_back_goes_on_where_it_was(direction):
    async with echo() as (network, port), connection(port) as (reader, writer):
        assert await answers(reader, writer)
        network.hold(*direction)
        assert not await answers(reader, writer, b"wait", within=0.2)
        network.heal()
        async with asyncio.timeout(5):
            assert await reader.readexactly(4) == b"wait"


async def test_a_reset_breaks_what_is_there_and_lets_new_ones_through():
    async with echo() as (network, port):
        async with connection(port) as (reader, writer):
            assert await answers(reader, writer)
            network.reset("r2", "r1")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                async with asyncio.timeout(5):
                    await reader.readexactly(1)
        async with connection(port) as (reader, writer):
            assert await answers(reader, writer)


async def test_other_pairs_are_left_alone():
    async with echo() as (network, port), connection(port) as (reader, writer):
        assert await answers(reader, writer)
        network.reset("r1", "r3")
        network.cut("r2", "r3")
        assert await answers(reader, writer)


async def test_a_slow_link_takes_its_time_and_keeps_the_order():
    async with echo() as (network, port), connection(port) as (reader, writer):
        assert await answers(reader, writer)
        network.slow("r1", "r2", 0.1)
        begin = asyncio.get_running_loop().time()
        for number in range(10):
            writer.write(b"%d" % number)
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await reader.readexactly(10) == b"0123456789"
        assert asyncio.get_running_loop().time() - begin >= 0.2


async def test_nobodys_connections_are_not_carried():
    async with echo() as (network, port):
        network._pids = dict
        async with connection(port) as (reader, _):
            assert await reader.read(1) == b""
        assert network.carried == 0


def test_a_connection_that_is_gone_is_nobodys():
    assert owner_of(1, 2, {os.getpid(): "r1"}) == ""
