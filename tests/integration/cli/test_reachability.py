from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from h9s.cli.reachability import any_may_listen, first_that_listens


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def test_only_refusals_of_all_count_as_nobody(listening: str, refusing: str) -> None:
    assert not await any_may_listen([refusing, refusing], timeout=1)
    assert await any_may_listen([refusing, listening], timeout=1)
    assert await any_may_listen([refusing, "not an address"], timeout=1)


async def test_the_first_that_listens_is_chosen(listening: str, refusing: str) -> None:
    assert await first_that_listens([refusing, listening], timeout=1) == listening
    assert await first_that_listens([refusing, "x:y"], timeout=1) == refusing
