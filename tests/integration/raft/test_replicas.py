"""Three real replicas in one process: mTLS on loopback, journals on disk."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from contextlib import AsyncExitStack, suppress

import pytest

from h9s import pki
from h9s._pb import api_pb2, log_pb2
from h9s.clock import SystemClock, wall_ms
from h9s.errors import H9sError, NotLeaderError
from h9s.raft.journal import Journal
from h9s.raft.links import PeerLinks, TlsFiles
from h9s.raft.replicated_store import ReplicaAddress, ReplicatedStore, StoreSettings
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.storage import FileStorage

NAMES = ("r1", "r2", "r3")
DEADLINE_SECONDS = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Replicas:
    """The cluster of a test: keys and addresses, and the replicas that run."""

    def __init__(self, folder):
        self.folder = folder
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.stores: dict[str, ReplicatedStore] = {}
        self.links: dict[str, PeerLinks] = {}
        self.fatal: list[BaseException] = []
        self.settings = StoreSettings(compaction_interval=0.1, snapshot_min_entries=20)
        self.ca = pki.create_ca("test")
        (folder / "ca.crt").write_bytes(self.ca.certificate)
        for name in NAMES:
            credential = pki.issue(
                self.ca,
                common_name=name,
                organization="h9s:replica",
                dns_names=["h9s-apiserver"],
                server=True,
            )
            credential.save(folder / f"{name}.crt", folder / f"{name}.key")

    async def start(self, name, *, cluster_id="test", tls_of=None, incarnation=0, folder="", moved_to=""):
        """`moved_to`: where it is now, which the others have not been told."""
        tls_of = tls_of or name
        addresses = {**self.addresses, name: moved_to or self.addresses[name]}
        folder = self.folder / (folder or name)
        loop = asyncio.get_running_loop()
        tls = TlsFiles(self.folder / "ca.crt", self.folder / f"{tls_of}.crt", self.folder / f"{tls_of}.key")
        links = PeerLinks(
            cluster_id=cluster_id,
            replica_id=name,
            listen=addresses[name],
            peer_address=addresses[name],
            incarnation=incarnation,
            tls=tls,
            loop=loop,
            rng=random.Random(1),
        )
        await links.open()
        journal = Journal(FileStorage(folder), identity=f"test/{name}", segment_bytes=1 << 16)
        store = ReplicatedStore(
            cluster_id=cluster_id,
            replica_id=name,
            addresses={other: ReplicaAddress(peer, peer) for other, peer in addresses.items()},
            incarnation=incarnation,
            journal=journal,
            snapshots=SnapshotFiles(FileStorage(folder / "snapshots"), identity=cluster_id),
            settings=self.settings,
            links=links,
            clock=SystemClock(),
            rng=random.Random(f"{name}{len(self.fatal)}"),
            loop=loop,
            on_fatal=self.fatal.append,
        )
        self.stores[name], self.links[name] = store, links
        await store.start()

    async def stop(self, name):
        await self.stores.pop(name).stop()
        await self.links.pop(name).close()

    async def leader(self):
        return await eventually(
            lambda: next((n for n, store in self.stores.items() if store.leadership().ready), None)
        )


async def eventually(condition):
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (found := condition()):
            await asyncio.sleep(0.01)
        return found


@pytest.fixture
async def replicas(tmp_path):
    cluster = Replicas(tmp_path)
    async with AsyncExitStack() as stack:
        for name in NAMES:
            await cluster.start(name)
        yield cluster
        for name in list(cluster.stores):
            stack.push_async_callback(cluster.stop, name)
    assert cluster.fatal == []


def put(key, value=b"v", *, nonce=None):
    request_id = api_pb2.RequestId(nonce=nonce or random.randbytes(16), issued_at_ms=wall_ms(SystemClock()))
    return log_pb2.Transaction(
        request_id=request_id, mutations=[log_pb2.Mutation(key=f"/sim/Item//{key}", value=value)]
    )


async def commit(cluster, transaction):
    """Propose wherever the leader is, with the same request id until it is settled."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            leader = await cluster.leader()
            try:
                return await cluster.stores[leader].propose(transaction, timeout=1)
            except H9sError:
                await asyncio.sleep(0.01)


async def test_what_the_leader_acknowledges_every_replica_shows(replicas):
    outcome = await commit(replicas, put("a"))
    for store in replicas.stores.values():
        await store.read_barrier(timeout=5)
        assert store.view().get("/sim/Item//a").mod_revision == outcome.revision
    assert len({store.machine.state_hash() for store in replicas.stores.values()}) == 1


async def test_a_follower_refuses_a_write_and_names_the_leader(replicas):
    leader = await replicas.leader()
    follower = next(name for name in NAMES if name != leader)
    await eventually(lambda: replicas.stores[follower].leadership().leader_id == leader)
    with pytest.raises(NotLeaderError) as caught:
        await replicas.stores[follower].propose(put("a"), timeout=1)
    assert caught.value.leader_address == replicas.addresses[leader]


async def test_losing_the_leader_loses_nothing_and_a_retry_does_nothing_twice(replicas):
    first = put("a")
    before = await commit(replicas, first)
    lost = await replicas.leader()
    await replicas.stop(lost)
    again = await commit(replicas, first)
    assert again.replayed
    assert again.revision == before.revision
    await commit(replicas, put("b"))
    await replicas.start(lost)
    store = replicas.stores[lost]
    await store.read_barrier(timeout=10)
    assert [kv.key for kv in store.view().scan("/sim/")] == ["/sim/Item//a", "/sim/Item//b"]


async def test_all_replicas_stopped_at_once_come_back_with_everything(replicas):
    for number in range(200):
        await commit(replicas, put(f"k{number % 50}", bytes(2000)))
    revision = replicas.stores[await replicas.leader()].revision
    for name in NAMES:
        await replicas.stop(name)
    for name in NAMES:
        await replicas.start(name)
    for store in replicas.stores.values():
        await store.read_barrier(timeout=10)
        assert store.revision == revision
        assert len(store.machine) == 50


async def test_many_writers_share_log_entries(replicas):
    leader = replicas.stores[await replicas.leader()]
    before = leader.node.engine.last_index
    outcomes = await asyncio.gather(*(leader.propose(put(f"k{n}"), timeout=5) for n in range(500)))
    assert len({outcome.revision for outcome in outcomes}) == 500
    assert leader.node.engine.last_index - before < 50


async def test_a_replica_with_anothers_certificate_is_refused(replicas, caplog):
    leader = await replicas.leader()
    other = next(name for name in NAMES if name != leader)
    await replicas.stop(other)
    impostor = next(name for name in NAMES if name not in (leader, other))
    await replicas.start(other, tls_of=impostor)
    await eventually(lambda: "its certificate says" in caplog.text)
    assert other not in replicas.stores[leader].node.connected


async def test_a_node_that_talks_nonsense_to_a_replica_is_refused_and_harms_nobody(replicas, caplog):
    loose = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: loose.append(context))
    node = pki.issue(replicas.ca, common_name="n1", organization="h9s:node")
    node.save(replicas.folder / "n1.crt", replicas.folder / "n1.key")
    tls = TlsFiles(replicas.folder / "ca.crt", replicas.folder / "n1.crt", replicas.folder / "n1.key")
    host, _, port = replicas.addresses["r1"].rpartition(":")
    context = tls.context(ssl.Purpose.SERVER_AUTH)
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=context, server_hostname="h9s-apiserver"
    )
    writer.write(b"\x01\x00\x00\x00\xff")
    async with asyncio.timeout(DEADLINE_SECONDS):
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
    writer.close()
    assert "does not speak our protocol" in caplog.text
    assert loose == []


async def test_a_replica_of_another_cluster_is_refused(replicas, caplog):
    leader = await replicas.leader()
    other = next(name for name in NAMES if name != leader)
    await replicas.stop(other)
    await replicas.start(other, cluster_id="elsewhere")
    await eventually(lambda: "belongs to the cluster" in caplog.text)
    assert other not in replicas.stores[leader].node.connected


async def test_a_replica_that_lacks_what_the_log_has_dropped_gets_a_snapshot(replicas):
    leader = await replicas.leader()
    behind = next(name for name in NAMES if name != leader)
    await replicas.stop(behind)
    written = 0
    while any(store.node.journal[0].index <= 60 for store in replicas.stores.values()):
        await commit(replicas, put(f"k{written}", bytes(5000)))
        written += 1
    await replicas.start(behind)
    store = replicas.stores[behind]
    await store.read_barrier(timeout=10)
    assert len(store.machine) == written
    assert store.node.journal[0].index > 60
    assert len({each.machine.state_hash() for each in replicas.stores.values()}) == 1
