"""A replica that lacks old revisions is not the last word."""

from __future__ import annotations

import asyncio

import pytest

from h9s._pb import core_pb2
from h9s.errors import CompactedError, HistoryNotHeldError, UnavailableError
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, virtual


def lacking(api, *servers, down=()):
    def intercept(server, method, _request):
        if server in down:
            raise UnavailableError("down")
        if method == "Get" and server in servers:
            raise HistoryNotHeldError("this replica's own history starts at revision 7")

    api.intercept = intercept


@virtual
async def test_another_replica_is_asked_for_what_one_lacks():
    api = FakeApi()
    async with new_client(api) as client:
        await client.create(pod("web"))
        for server in api.servers:
            lacking(api, *(other for other in api.servers if other != server))
            found = await client.get(core_pb2.Pod, "web", "default", revision=1)
            assert found.metadata.name == "web"


@virtual
async def test_what_nobody_holds_is_an_error_at_once_even_if_one_replica_is_down():
    api = FakeApi()
    async with new_client(api) as client:
        for down in ((), (api.servers[0],)):
            lacking(api, *api.servers, down=down)
            started = asyncio.get_running_loop().time()
            api.requests.clear()
            with pytest.raises(HistoryNotHeldError, match="starts at revision 7"):
                await client.get(core_pb2.Pod, "web", "default", revision=1)
            assert len(api.requests) == len(api.servers)
            assert asyncio.get_running_loop().time() - started < 1


@virtual
async def test_what_the_cluster_has_forgotten_is_asked_for_once():
    api = FakeApi()
    async with new_client(api) as client:

        def intercept(_server, method, _request):
            if method == "Get":
                raise CompactedError("compacted")

        api.intercept = intercept
        with pytest.raises(CompactedError):
            await client.get(core_pb2.Pod, "web", "default", revision=1)
        assert len(api.requests) == 1
