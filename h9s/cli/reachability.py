"""Whether anybody listens at an address: asked where a client's patience has run out, or to choose."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


async def any_may_listen(servers: Sequence[str], *, timeout: float) -> bool:
    """False only where every machine itself says that nobody does; `timeout` in seconds."""
    answers = await asyncio.gather(*(_listens(server, timeout) for server in servers))
    return any(answer is not False for answer in answers)


async def first_that_listens(servers: Sequence[str], *, timeout: float) -> str:
    """The first of the addresses that takes a connection, or the first of all where none does."""
    answers = await asyncio.gather(*(_listens(server, timeout) for server in servers))
    return next((server for server, answer in zip(servers, answers, strict=True) if answer), servers[0])


async def _listens(server: str, timeout: float) -> bool | None:
    """None where that cannot be told."""
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except ConnectionRefusedError:
        return False
    except (OSError, ValueError, TimeoutError):
        return None
    writer.close()
    return True
