"""Proposals: what their owners are told, when, and what an open fate means."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from h9s._pb import api_pb2, log_pb2
from h9s.errors import (
    CompactedError,
    NotLeaderError,
    OverloadedError,
    TimeoutExpiredError,
    TooLargeError,
    UnavailableError,
)
from h9s.raft.archiving import HistorySettings
from h9s.raft.errors import SafetyError
from h9s.raft.replicated_store import StoreSettings
from h9s.raft.settings import RaftSettings
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.versions import PeerHello
from h9s.sim.replicas import SimReplicas
from h9s.store.model import ALL_KEYS
from tests.unit.raft.harness import virtual

SETTINGS = StoreSettings(max_transaction_bytes=10_000, max_pending=50, max_group=20)


class Cluster(SimReplicas):
    """Three replicas on a good network."""

    def __init__(self, *, settings=SETTINGS, names=("r1", "r2", "r3")):
        super().__init__(
            names,
            rng=random.Random(7),
            loop=asyncio.get_running_loop(),
            latency=0.002,
            raft_settings=RaftSettings(
                election_timeout_min=0.15,
                election_timeout_max=0.3,
                heartbeat_interval=0.04,
                leader_fallback=0.3,
            ),
            store_settings=settings,
        )

    async def start_all(self):
        for name in self.names:
            await self.start(name)
        await self.settle()
        return self

    async def settle(self):
        """Until somebody leads and everybody is level."""
        async with asyncio.timeout(20):
            while self.disagreement():
                await asyncio.sleep(0.01)

    async def settle_without(self, *missing):
        """Until somebody leads, whatever becomes of the missing."""
        async with asyncio.timeout(20):
            while not self.ready_leaders() or any(
                word not in missing for word in self.disagreement().split() if word.startswith("r")
            ):
                await asyncio.sleep(0.01)

    @property
    def leader(self):
        (name,) = self.ready_leaders()
        return self.stores[name]

    @property
    def followers(self):
        return [self.stores[name] for name in self.alive if name != self.leader.replica_id]

    def isolate(self, name):
        for other in self.names:
            if other != name:
                self.network.cut(name, other)


def put(key, value=b"v", *, nonce=None):
    """A write that must be the first of its key."""
    return log_pb2.Transaction(
        request_id=api_pb2.RequestId(nonce=nonce or key.encode(), issued_at_ms=1_700_000_000_000),
        guards=[log_pb2.Guard(key=f"/sim/Item//{key}", mod_revision=0, client=True)],
        mutations=[log_pb2.Mutation(key=f"/sim/Item//{key}", value=value)],
    )


def found(store, key):
    return store.view().get(f"/sim/Item//{key}")


# --- what is refused, nothing having been done -------------------------------------------------


@virtual
async def test_a_follower_refuses_and_names_the_leader():
    cluster = await Cluster().start_all()
    with pytest.raises(NotLeaderError, match="does not lead") as caught:
        await cluster.followers[0].propose(put("a"), timeout=1)
    assert caught.value.leader_address == cluster.leader.replica_id
    with pytest.raises(NotLeaderError):
        cluster.followers[0].submit(put("a"))


@virtual
async def test_without_a_leader_a_write_is_refused():
    cluster = Cluster()
    await cluster.start("r1")
    with pytest.raises(NotLeaderError, match="no leader is known") as caught:
        await cluster.stores["r1"].propose(put("a"), timeout=1)
    assert caught.value.leader_address == ""


@virtual
async def test_what_is_too_large_is_refused():
    cluster = await Cluster().start_all()
    index = cluster.leader.node.engine.last_index
    with pytest.raises(TooLargeError, match="at most 10000 are allowed"):
        await cluster.leader.propose(put("a", bytes(10_000)), timeout=1)
    assert cluster.leader.node.engine.last_index == index


@virtual
async def test_when_too_many_wait_more_are_refused_and_the_others_are_not_disturbed():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    waiting = [leader.submit(put(f"k{number}")) for number in range(50)]
    with pytest.raises(OverloadedError, match="50 writes are waiting"):
        await leader.propose(put("one more"), timeout=1)
    outcomes = await asyncio.gather(*waiting)
    assert all(outcome.failure is None for outcome in outcomes)
    assert found(leader, "one more") is None


@virtual
async def test_nor_do_more_bytes_wait_than_there_is_room_for():
    settings = StoreSettings(max_pending_bytes=20_000)
    cluster = await Cluster(settings=settings).start_all()
    leader = cluster.leader
    waiting = [leader.submit(put(f"k{number}", bytes(5000))) for number in range(4)]
    with pytest.raises(OverloadedError):
        leader.submit(put("one more"))
    await asyncio.gather(*waiting)
    assert (await leader.propose(put("one more"), timeout=1)).failure is None


@virtual
async def test_a_leader_that_had_to_stop_is_gone_at_once():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    leader.node.stop()
    before = cluster.loop.time()
    await leader.stop()
    assert cluster.loop.time() == before


@virtual
async def test_what_was_not_proposed_when_leadership_is_lost_was_not_done():
    cluster = await Cluster(settings=StoreSettings(max_group=1, max_entries_in_flight=1)).start_all()
    deposed = cluster.leader
    cluster.isolate(deposed.replica_id)
    under_way = deposed.submit(put("under way"))
    waiting = deposed.submit(put("waiting"))
    with pytest.raises(UnavailableError, match="outcome is open"):
        await under_way
    with pytest.raises(NotLeaderError):
        await waiting
    cluster.network.heal(latency=0.002)
    await cluster.settle()
    assert all(found(store, "waiting") is None for store in cluster.stores.values())


# --- what is open ------------------------------------------------------------------------------


@virtual
async def test_a_write_that_nobody_confirms_ends_at_its_deadline():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    for store in cluster.followers:
        cluster.network.mute(store.replica_id, leader.replica_id)
    began = cluster.loop.time()
    with pytest.raises(TimeoutExpiredError, match=r"within 0\.05 s; it may still take effect"):
        await leader.propose(put("a"), timeout=0.05)
    assert cluster.loop.time() - began == pytest.approx(0.05)


@virtual
async def test_a_write_whose_answer_never_came_is_settled_by_its_id_when_it_was_done():
    cluster = await Cluster().start_all()
    first = cluster.leader
    # The entry reaches the others; their answers do not come back.
    for store in cluster.followers:
        cluster.network.mute(store.replica_id, first.replica_id)
    with pytest.raises(UnavailableError):
        await first.propose(put("a"), timeout=5)
    cluster.isolate(first.replica_id)
    while first in [cluster.stores[name] for name in cluster.ready_leaders()] or not cluster.ready_leaders():
        await asyncio.sleep(0.01)
    outcome = await cluster.leader.propose(put("a"), timeout=5)
    assert outcome.replayed
    assert outcome.failure is None
    assert found(cluster.leader, "a").mod_revision == outcome.revision


@virtual
async def test_a_write_whose_answer_never_came_is_settled_by_its_id_when_it_was_not_done():
    cluster = await Cluster().start_all()
    first = cluster.leader
    cluster.isolate(first.replica_id)
    with pytest.raises(UnavailableError):
        await first.propose(put("a"), timeout=5)
    while not cluster.ready_leaders():
        await asyncio.sleep(0.01)
    outcome = await cluster.leader.propose(put("a"), timeout=5)
    assert not outcome.replayed
    cluster.network.heal(latency=0.002)
    await cluster.settle()
    assert {found(store, "a").mod_revision for store in cluster.stores.values()} == {outcome.revision}


@virtual
async def test_a_retry_on_the_same_leader_returns_the_first_outcome():
    cluster = await Cluster().start_all()
    first = await cluster.leader.propose(put("a"), timeout=1)
    again = await cluster.leader.propose(put("a"), timeout=1)
    assert (again.revision, again.failure, again.replayed) == (first.revision, None, True)


@virtual
async def test_two_attempts_in_one_group_are_one_write():
    cluster = await Cluster().start_all()
    outcomes = await asyncio.gather(*(cluster.leader.submit(put("a")) for _ in range(5)))
    assert [outcome.replayed for outcome in outcomes] == [False, True, True, True, True]
    assert len({outcome.revision for outcome in outcomes}) == 1


@virtual
async def test_stopping_settles_everybody_who_waits():
    cluster = await Cluster(settings=StoreSettings(max_group=1, max_entries_in_flight=1)).start_all()
    leader = cluster.leader
    under_way, waiting = leader.submit(put("a")), leader.submit(put("b"))
    await asyncio.sleep(0)
    await leader.stop(hand_over=False)
    with pytest.raises(UnavailableError, match="shutting down"):
        await under_way
    with pytest.raises(NotLeaderError):
        await waiting


@virtual
async def test_a_leader_that_leaves_finishes_what_is_under_way_and_refuses_the_rest():
    cluster = await Cluster(settings=StoreSettings(max_group=1, max_entries_in_flight=1)).start_all()
    leader = cluster.leader
    under_way, waiting = leader.submit(put("a")), leader.submit(put("b"))
    await asyncio.sleep(0)
    leaving = asyncio.ensure_future(leader.stop())
    assert (await under_way).failure is None
    with pytest.raises(NotLeaderError):
        await waiting
    with pytest.raises(NotLeaderError, match="giving its leadership away"):
        await leader.propose(put("c"), timeout=1)
    await leaving
    async with asyncio.timeout(0.1):
        while not cluster.ready_leaders():
            await asyncio.sleep(0.001)
    assert cluster.leader is not leader


@virtual
async def test_a_writer_that_went_away_does_not_disturb_its_group():
    cluster = await Cluster().start_all()
    futures = [cluster.leader.submit(put(f"k{number}")) for number in range(3)]
    await asyncio.sleep(0)
    futures[1].cancel()
    outcomes = await asyncio.gather(futures[0], futures[2])
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert cluster.failures == []


# --- group commit ------------------------------------------------------------------------------


@virtual
async def test_writes_that_arrive_together_share_entries_messages_and_syncs():
    cluster = await Cluster(settings=StoreSettings()).start_all()
    leader = cluster.leader
    engine, disk = leader.node.engine, cluster._disks[leader.replica_id]
    entries, syncs = engine.last_index, disk.syncs
    outcomes = await asyncio.gather(*(leader.propose(put(f"k{n}"), timeout=5) for n in range(500)))
    assert len({outcome.revision for outcome in outcomes}) == 500
    assert engine.last_index - entries == 1
    assert disk.syncs - syncs <= 2


@virtual
async def test_a_group_is_bounded_in_number_and_in_size():
    cluster = await Cluster(settings=StoreSettings(max_group=20, max_transaction_bytes=10_000)).start_all()
    leader = cluster.leader
    await asyncio.gather(*(leader.propose(put(f"small{n}"), timeout=5) for n in range(100)))
    await asyncio.gather(*(leader.propose(put(f"large{n}", bytes(4000)), timeout=5) for n in range(10)))
    groups = [
        log_pb2.LogEntry.FromString(command[1:]).transactions
        for command, *_ in leader.node.journal
        if command[:1] == b"\0"
    ]
    assert max(len(group) for group in groups) == 20
    assert max(sum(transaction.ByteSize() for transaction in group) for group in groups) <= 10_000
    assert sum(len(group) for group in groups) == 110


@virtual
async def test_few_entries_are_under_way_at_once():
    cluster = await Cluster(settings=StoreSettings(max_group=1, max_entries_in_flight=2)).start_all()
    leader = cluster.leader
    engine = leader.node.engine
    futures = [leader.submit(put(f"k{number}")) for number in range(20)]
    most = 0
    while not all(future.done() for future in futures):
        await asyncio.sleep(0.0005)
        most = max(most, engine.last_index - engine.applied_index)
    assert most == 2


@virtual
async def test_while_an_entry_is_under_way_only_a_full_group_follows_it():
    cluster = await Cluster(settings=StoreSettings(max_group=20, max_entries_in_flight=3)).start_all()
    leader = cluster.leader
    engine = leader.node.engine

    def submit(kind, count):
        return [leader.submit(put(f"{kind}{number}")) for number in range(count)]

    begin = engine.last_index
    futures = submit("first", 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    futures += submit("few", 19)
    await asyncio.sleep(0.0001)
    assert engine.last_index == begin + 1
    futures += submit("one more", 1)
    await asyncio.sleep(0.0001)
    assert engine.last_index == begin + 2
    outcomes = await asyncio.gather(*futures)
    assert all(outcome.failure is None for outcome in outcomes)


# --- applying ----------------------------------------------------------------------------------


@virtual
async def test_a_log_entry_of_a_newer_version_ends_the_replica_instead_of_being_guessed_at():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    revision = leader.revision
    leader.node.propose(log_pb2.LogEntry(format_version=99, transactions=[put("a")]).SerializeToString())
    await asyncio.sleep(1)
    assert len(cluster.failures) == 2, "the third has nobody left to learn from that it is committed"
    assert all(SafetyError.__name__ in failure for failure in cluster.failures)
    assert {store.revision for store in cluster.stores.values()} == {revision}


@virtual
async def test_who_waits_for_a_change_is_woken_on_every_replica():
    cluster = await Cluster().start_all()
    waiting = [asyncio.ensure_future(store.wait_for_change(0)) for store in cluster.stores.values()]
    await cluster.leader.propose(put("a"), timeout=1)
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
    assert [store.changes(0)[0][0] for store in cluster.stores.values()] == [1, 1, 1]


@virtual
async def test_the_leader_lets_everybody_forget_old_history():
    settings = StoreSettings(history=HistorySettings(max_age=2.0), compaction_interval=0.5)
    cluster = await Cluster(settings=settings).start_all()
    for number in range(10):
        await cluster.leader.propose(put(f"k{number}"), timeout=1)
    await asyncio.sleep(5)
    assert {store.compact_revision for store in cluster.stores.values()} == {10}
    assert cluster.disagreement() == ""


@virtual
async def test_who_wrote_is_told_once_every_replica_understands_it():
    cluster = Cluster()
    cluster.network.hellos["r3"] = PeerHello(feature_level=1)
    await cluster.start_all()
    cluster.stores["r3"].node.feature_levels.heard("r3", 1)
    for number in range(2):
        transaction = put(f"k{number}")
        transaction.author = "admin/alice"
        await cluster.leader.propose(transaction, timeout=1)
        if not number:
            await cluster.crash("r3")
            cluster.network.hellos["r3"] = PeerHello()
            await cluster.start("r3")
            await cluster.settle()
    await cluster.settle()
    for store in cluster.stores.values():
        past = await store.look_back(lambda past: past)
        assert [record.author for record in past.records(ALL_KEYS, after=0)] == ["", "admin/alice"]


@virtual
async def test_a_snapshot_that_finds_no_space_is_put_off(monkeypatch):
    settings = StoreSettings(compaction_interval=0.5, snapshot_min_entries=20)
    cluster = await Cluster(settings=settings).start_all()
    attempts = []

    def write(*_args: object, **_kwargs: object) -> None:
        attempts.append(cluster.loop.time())
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(SnapshotFiles, "write", write)
        for number in range(30):
            await cluster.leader.propose(put(f"k{number}"), timeout=1)
        await asyncio.sleep(5)
    assert len(attempts) == len(cluster.names)
    for number in range(30):
        await cluster.leader.propose(put(f"l{number}"), timeout=1)
    await asyncio.sleep(5)
    assert cluster.failures == []
    assert all(
        store.node.journal.size_bytes and store._snapshots.infos() for store in cluster.stores.values()
    )


@virtual
async def test_what_has_left_the_memory_is_read_from_the_archive_after_a_restart_as_well():
    settings = StoreSettings(
        compaction_interval=0.5,
        snapshot_min_entries=20,
        history=HistorySettings(recent_max_bytes=0, batch_min_bytes=1, interval=0.2),
    )
    cluster = await Cluster(settings=settings).start_all()
    cluster.may_lose_archives = False
    for number in range(30):
        await cluster.leader.propose(put(f"k{number}"), timeout=1)
    await asyncio.sleep(3)
    for name in cluster.names:
        assert cluster.stores[name].recent_revision == 30
        await cluster.crash(name)
        await cluster.start(name)
        await cluster.settle()
    for number in range(30, 35):
        await cluster.leader.propose(put(f"k{number}"), timeout=1)
    await asyncio.sleep(1)
    for store in cluster.stores.values():
        past = await store.look_back(lambda past: past)
        assert past.first_revision == 0
        for revision in range(36):
            assert len(past.view(revision, ALL_KEYS).scan("/")) == revision
        with pytest.raises(CompactedError):
            store.view(5)


@virtual
async def test_the_status_tells_who_leads_and_who_lags():
    cluster = await Cluster().start_all()
    follower = cluster.followers[0].replica_id
    cluster.isolate(follower)
    for number in range(3):
        await cluster.leader.propose(put(f"k{number}"), timeout=1)
    status = cluster.leader.status()
    assert (status.role, status.leader_id, status.revision, status.objects) == (
        "leader",
        cluster.leader.replica_id,
        3,
        3,
    )
    seen = {replica.id: (replica.connected, replica.lag_entries) for replica in status.replicas}
    assert seen[follower] == (False, 3)
    assert seen[cluster.leader.replica_id] == (True, 0)
