"""Changes of members over real gRPC: who may ask, and what comes back."""

from __future__ import annotations

import pytest

from h9s import pki
from h9s.errors import ForbiddenError, InvalidError, RefusedError, UnsupportedError
from tests.integration.apiserver.serving import serving


class Recorder:
    """Says yes to everything, or refuses."""

    def __init__(self, refusal=None):
        self.calls = []
        self._refusal = refusal

    async def add(self, replica_id, *, api_address, peer_address, timeout):
        self._note("add", replica_id, api_address, peer_address)

    async def promote(self, replica_id, *, timeout):
        self._note("promote", replica_id)

    async def remove(self, replica_id, *, timeout):
        self._note("remove", replica_id)

    async def transfer(self, replica_id=""):
        self._note("transfer", replica_id)

    def _note(self, *call):
        self.calls.append(call)
        if self._refusal:
            raise self._refusal


async def test_an_admin_changes_the_members():
    recorder = Recorder()
    async with serving(recorder) as api, api.client() as client:
        await client.members.add("r4", api_address="d:1", peer_address="d:2")
        await client.members.promote("r4")
        await client.members.remove("r4")
        await client.members.transfer_leadership("r4")
        await client.members.transfer_leadership()
    assert recorder.calls == [
        ("add", "r4", "d:1", "d:2"),
        ("promote", "r4"),
        ("remove", "r4"),
        ("transfer", "r4"),
        ("transfer", ""),
    ]


@pytest.mark.parametrize("role", [pki.ROLE_COMPONENT, pki.ROLE_NODE, pki.ROLE_REPLICA])
async def test_nobody_else_does(role):
    recorder = Recorder()
    async with serving(recorder) as api, api.client("x", role) as client:
        for request in (
            client.members.add("r4", api_address="d:1", peer_address="d:2"),
            client.members.promote("r4"),
            client.members.remove("r4"),
            client.members.transfer_leadership(),
        ):
            with pytest.raises(ForbiddenError):
                await request
    assert recorder.calls == []


async def test_a_refusal_arrives_as_what_it_is():
    async with serving(Recorder(RefusedError("not now"))) as api, api.client() as client:
        with pytest.raises(RefusedError, match="not now"):
            await client.members.remove("r2")


@pytest.mark.parametrize("address", ["", "d", "d:", ":1", "d:x", "d:70000"])
async def test_an_address_has_a_host_and_a_port(address):
    async with serving(Recorder()) as api, api.client() as client:
        with pytest.raises(InvalidError, match="peerAddress"):
            await client.members.add("r4", api_address="d:1", peer_address=address)
        with pytest.raises(InvalidError, match="apiAddress"):
            await client.members.add("r4", api_address=address, peer_address="d:1")
        with pytest.raises(InvalidError, match="has to be named"):
            await client.members.promote("")


async def test_a_store_in_memory_has_no_members():
    async with serving() as api, api.client() as client:
        with pytest.raises(UnsupportedError):
            await client.members.promote("r4")
