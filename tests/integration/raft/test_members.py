"""Replicas that come, go, move and lose their data, over real connections."""

from __future__ import annotations

import asyncio
import random

import pytest

from h9s import pki
from h9s.raft.errors import RemovedError
from tests.integration.raft.test_replicas import (
    NAMES,
    commit,
    eventually,
    free_port,
    put,
    replicas,  # noqa: F401 - a fixture
)


def enroll(cluster, name):
    """Make a further replica's certificate and address; it knows of all the others."""
    credential = pki.issue(
        cluster.ca, common_name=name, organization="h9s:replica", dns_names=["h9s-apiserver"], server=True
    )
    credential.save(cluster.folder / f"{name}.crt", cluster.folder / f"{name}.key")
    cluster.addresses[name] = f"127.0.0.1:{free_port()}"


async def ask(cluster, request):
    """Of whoever leads, until somebody does it."""
    async with asyncio.timeout(20):
        while True:
            leader = cluster.stores[await cluster.leader()]
            try:
                return await request(leader.administration)
            except Exception:  # noqa: BLE001 - asked again; what stays shows as a timeout
                await asyncio.sleep(0.05)


def effective(cluster):
    leader = next(store for store in cluster.stores.values() if store.leadership().ready)
    return leader.membership.effective


async def join(cluster, name):
    enroll(cluster, name)
    await cluster.start(name, incarnation=random.getrandbits(62))
    address = cluster.addresses[name]
    await ask(cluster, lambda a: a.add(name, api_address=address, peer_address=address, timeout=5))
    await ask(cluster, lambda a: a.promote(name, timeout=5))


@pytest.mark.parametrize("name", ["r0", "r4"])
async def test_a_fourth_replica_joins_whether_it_has_to_dial_or_is_dialled(replicas, name):  # noqa: F811
    await commit(replicas, put("a"))
    await join(replicas, name)
    assert name in effective(replicas).voters
    store = replicas.stores[name]
    await store.read_barrier(timeout=10)
    assert store.view().get("/sim/Item//a") is not None
    await ask(replicas, lambda a: a.transfer(name))
    assert store.leadership().role == "leader"
    await commit(replicas, put("b"))


async def test_a_removed_replica_stops(replicas):  # noqa: F811
    leader = await replicas.leader()
    name = next(name for name in NAMES if name != leader)
    removed = []
    replicas.stores[name]._on_removed = lambda: removed.append(name)
    await ask(replicas, lambda a: a.remove(name, timeout=5))
    await eventually(lambda: replicas.fatal)
    assert isinstance(replicas.fatal.pop(), RemovedError)
    assert removed == [name]
    await replicas.stop(name)
    await commit(replicas, put("a"))


async def test_a_replica_without_its_data_comes_back(replicas):  # noqa: F811
    await commit(replicas, put("a"))
    leader = await replicas.leader()
    name = next(name for name in NAMES if name != leader)
    await replicas.stop(name)
    await replicas.start(name, incarnation=4711, folder="anew")
    await eventually(lambda: (found := effective(replicas).get(name)).voter and found.incarnation == 4711)
    store = replicas.stores[name]
    await store.read_barrier(timeout=10)
    assert store.view().get("/sim/Item//a") is not None


async def test_a_replica_moves(replicas):  # noqa: F811
    """Only its own settings say where it is now."""
    leader = await replicas.leader()
    for name in (name for name in NAMES if name != leader):
        await replicas.stop(name)
        old, new = replicas.addresses[name], f"127.0.0.1:{free_port()}"
        await replicas.start(name, moved_to=new)
        assert replicas.addresses[name] == old
        await eventually(lambda name=name, new=new: effective(replicas).get(name).peer_address == new)
        await replicas.stores[name].read_barrier(timeout=10)


async def test_all_replicas_move_at_once(replicas):  # noqa: F811
    await commit(replicas, put("a"))
    await eventually(lambda: all(store.membership.index for store in replicas.stores.values()))
    for name in NAMES:
        await replicas.stop(name)
        replicas.addresses[name] = f"127.0.0.1:{free_port()}"
    for name in NAMES:
        await replicas.start(name)
    await commit(replicas, put("b"))
    await eventually(
        lambda: {m.peer_address for m in effective(replicas).members} == {*replicas.addresses.values()}
    )
