"""Changes of the members, asked for and by themselves, with real replicas on a made-up network."""

from __future__ import annotations

import asyncio

import pytest

from h9s._pb import log_pb2
from h9s.errors import InvalidError, NotFoundError, NotLeaderError, RefusedError, TimeoutExpiredError
from h9s.raft.replicated_store import StoreSettings
from tests.unit.raft.harness import virtual
from tests.unit.raft.test_replicated_store import Cluster, found, put

#: Logs are cut early, so that newcomers need the snapshot.
SHORT_LOGS = StoreSettings(snapshot_min_entries=5, compaction_interval=0.2)


async def add(cluster, name, *, timeout=2.0):
    await cluster.leader.administration.add(name, api_address=name, peer_address=name, timeout=timeout)


async def caught_up(cluster, name):
    async with asyncio.timeout(20):
        while not cluster.leader.administration.has_caught_up(name):
            await asyncio.sleep(0.01)


async def four(*, settings=SHORT_LOGS):
    """A cluster that r4 has joined as a learner that has caught up."""
    cluster = await Cluster(settings=settings).start_all()
    for number in range(20):
        await cluster.leader.propose(put(f"early{number}"), timeout=1)
    await asyncio.sleep(1)
    cluster.enroll("r4")
    await cluster.start("r4")
    await add(cluster, "r4")
    await caught_up(cluster, "r4")
    return cluster


def effective(cluster):
    return cluster.leader.membership.effective


@virtual
async def test_a_replica_is_added_learns_and_becomes_a_voter():
    cluster = await four()
    assert effective(cluster).learners == ("r4",)
    assert cluster.leader.node.journal[0].index > 1, "it needed the snapshot"
    assert found(cluster.stores["r4"], "early0") is not None
    await add(cluster, "r4")
    await cluster.leader.administration.promote("r4", timeout=1)
    await cluster.leader.administration.promote("r4", timeout=1)
    await cluster.settle()
    assert effective(cluster).voters == ("r1", "r2", "r3", "r4")
    assert cluster.failures == []


@virtual
async def test_a_replica_can_be_added_before_it_is_started():
    cluster = await Cluster().start_all()
    await add(cluster, "r4")
    with pytest.raises(RefusedError, match="init --join"):
        await cluster.leader.administration.promote("r4", timeout=1)
    cluster.enroll("r4")
    await cluster.start("r4")
    await caught_up(cluster, "r4")
    await cluster.leader.administration.promote("r4", timeout=1)
    assert effective(cluster).get("r4").incarnation == cluster.incarnations["r4"]


@virtual
async def test_one_that_was_not_added_gets_nothing_and_waits():
    cluster = await Cluster().start_all()
    await cluster.leader.propose(put("a"), timeout=1)
    cluster.enroll("r4")
    await cluster.start("r4")
    await asyncio.sleep(5)
    assert found(cluster.stores["r4"], "a") is None
    assert cluster.stores["r4"].node.role.role == "follower"
    assert cluster.stores["r4"].node.engine.term == 0
    with pytest.raises(NotFoundError, match="no replica r4"):
        await cluster.leader.administration.promote("r4", timeout=1)


@virtual
async def test_a_founding_member_of_another_cluster_is_not_added():
    cluster = await Cluster().start_all()
    cluster.enroll("r4")
    cluster.incarnations["r4"] = 0
    cluster.network.hellos["r4"] = cluster.network.hellos["r4"]._replace(incarnation=0)
    await cluster.start("r4")
    await asyncio.sleep(0.5)
    with pytest.raises(RefusedError, match="init --join"):
        await add(cluster, "r4")


@virtual
async def test_a_learner_that_lacks_much_is_not_promoted():
    cluster = await four()
    for name in ("r1", "r2", "r3"):
        cluster.network.mute(name, "r4")
    for number in range(5):
        await cluster.leader.propose(put(f"late{number}"), timeout=1)
    await asyncio.sleep(0.2)
    with pytest.raises(RefusedError, match=r"has not caught up yet: it lacks \d+ entries"):
        await cluster.leader.administration.promote("r4", timeout=1)
    await cluster.crash("r4")
    await asyncio.sleep(0.1)
    with pytest.raises(RefusedError, match="not connected"):
        await cluster.leader.administration.promote("r4", timeout=1)


@virtual
async def test_a_removed_replica_stops_and_the_others_go_on():
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    cluster.dismissed.add(name)
    await cluster.leader.administration.remove(name, timeout=1)
    await cluster.leader.administration.remove(name, timeout=1)
    await cluster.settle()
    assert cluster.retired == {name}
    assert len(effective(cluster).voters) == 2
    await cluster.leader.propose(put("a"), timeout=1)


@virtual
async def test_one_that_was_away_when_it_was_removed_stops_when_it_comes_back():
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    await cluster.crash(name)
    cluster.dismissed.add(name)
    await cluster.leader.administration.remove(name, timeout=1)
    await cluster.start(name)
    await cluster.settle()
    assert cluster.retired == {name}


@virtual
async def test_one_that_is_told_of_another_life_goes_on():
    """An old notice, or a replica that lags behind: what was removed was not this."""
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    notice = log_pb2.PeerMessage(term=1)
    notice.not_member.index, notice.not_member.incarnation = 99, 5
    cluster.stores[name].node.link_received(cluster.leader.replica_id, notice.SerializeToString())
    assert not cluster.stores[name].node.is_stopped
    assert cluster.failures == []


@virtual
async def test_what_was_removed_cannot_be_added_again_with_its_data():
    cluster = await four()
    cluster.isolate("r4")
    await asyncio.sleep(0.1)
    cluster.dismissed.add("r4")
    await cluster.leader.administration.remove("r4", timeout=1)
    await add(cluster, "r4")
    await cluster.heal(latency=0.002)
    await asyncio.sleep(1)
    assert cluster.retired == {"r4"}, "it stops, instead of coming back"


@virtual
async def test_a_change_that_would_leave_no_majority_is_refused():
    cluster = await Cluster().start_all()
    gone, other = (store.replica_id for store in cluster.followers)
    await cluster.crash(gone)
    await asyncio.sleep(0.1)
    with pytest.raises(RefusedError, match=f"too many cannot be reached for a majority: {gone}"):
        await cluster.leader.administration.remove(other, timeout=1)
    await cluster.leader.administration.remove(gone, timeout=1)


@virtual
async def test_the_leader_that_is_to_be_removed_hands_over_first():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    with pytest.raises(NotLeaderError):
        await leader.administration.remove(leader.replica_id, timeout=1)
    await cluster.settle()
    assert cluster.leader is not leader
    cluster.dismissed.add(leader.replica_id)
    await cluster.leader.administration.remove(leader.replica_id, timeout=1)
    await cluster.settle()
    assert cluster.retired == {leader.replica_id}


@virtual
async def test_only_the_leader_changes_members():
    cluster = await Cluster().start_all()
    follower = cluster.followers[0].administration
    for attempt in (
        follower.add("r4", api_address="a", peer_address="b", timeout=1),
        follower.promote("r1", timeout=1),
        follower.remove("r1", timeout=1),
        follower.transfer("r1"),
    ):
        with pytest.raises(NotLeaderError):
            await attempt


@virtual
async def test_what_makes_no_sense_is_refused():
    cluster = await Cluster().start_all()
    administration = cluster.leader.administration
    with pytest.raises(InvalidError):
        await administration.add("r4", api_address="", peer_address="b", timeout=1)
    with pytest.raises(NotFoundError):
        await administration.transfer("r9")
    await cluster.crash(cluster.followers[0].replica_id)


@virtual
async def test_changes_wait_for_one_another():
    cluster = await Cluster().start_all()
    await asyncio.gather(*(add(cluster, name) for name in ("r4", "r5", "r6")))
    assert effective(cluster).learners == ("r4", "r5", "r6")
    assert cluster.failures == []


@virtual
async def test_a_change_that_no_majority_confirms_is_open_and_can_be_asked_for_again():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    for name in ("r1", "r2", "r3"):
        if name != leader.replica_id:
            cluster.network.mute(name, leader.replica_id)
    with pytest.raises(TimeoutExpiredError, match="may still take effect"):
        await add(cluster, "r4", timeout=0.05)
    await cluster.heal(latency=0.002)
    await cluster.settle_without("r4")
    await add(cluster, "r4")
    assert effective(cluster).learners == ("r4",)


@virtual
async def test_leadership_goes_to_whom_it_is_given():
    cluster = await Cluster().start_all()
    for _ in range(3):
        target = cluster.followers[1].replica_id
        await cluster.leader.administration.transfer(target)
        await cluster.settle()
        assert cluster.leader.replica_id == target
        await cluster.leader.administration.transfer(target)
    with pytest.raises(RefusedError, match="a learner"):
        await (await four()).leader.administration.transfer("r4")


# --- by itself -------------------------------------------------------------------------------


@virtual
async def test_a_replica_that_lost_its_data_comes_back_as_a_learner_and_is_a_voter_again():
    cluster = await Cluster(settings=SHORT_LOGS).start_all()
    for number in range(20):
        await cluster.leader.propose(put(f"early{number}"), timeout=1)
    name = cluster.followers[0].replica_id
    await cluster.wipe(name)
    await cluster.settle()
    member = effective(cluster).get(name)
    assert (member.voter, member.incarnation) == (True, cluster.incarnations[name])
    assert found(cluster.stores[name], "early0") is not None
    assert any("learners " + name in line for line in cluster.trace.lines)


@virtual
async def test_until_then_it_votes_for_nobody():
    cluster = await Cluster().start_all()
    leader, other = cluster.leader.replica_id, cluster.followers[1].replica_id
    wiped = cluster.followers[0].replica_id
    cluster.network.cut(leader, wiped)
    cluster.network.cut(leader, other)
    await cluster.wipe(wiped)
    await asyncio.sleep(5)
    assert [name for name in cluster.ready_leaders() if name != leader] == []
    assert cluster.stores[wiped].node.engine.term == 0


@virtual
async def test_the_old_disk_of_a_replica_that_came_back_without_it_is_not_believed():
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    old = cluster._disks[name]
    await cluster.wipe(name)
    await cluster.settle()
    await cluster.crash(name)
    cluster._disks[name] = old
    cluster.incarnations[name] = 0
    cluster.network.hellos[name] = cluster.network.hellos[name]._replace(incarnation=0)
    cluster.dismissed.add(name)
    await cluster.start(name)
    async with asyncio.timeout(20):
        while name not in cluster.retired:
            await asyncio.sleep(0.01)


@virtual
async def test_the_disk_of_a_later_life_is_not_believed_either_and_does_the_leader_no_harm():
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    await cluster.wipe(name)
    await cluster.settle()
    old, life = cluster._disks[name], cluster.incarnations[name]
    cluster._damage = lambda _: None
    await cluster.wipe(name)
    await cluster.settle()
    await cluster.crash(name)
    leader = cluster.leader
    (other,) = (store.replica_id for store in cluster.followers)
    cluster.network.cut(other, name)
    cluster._disks[name] = old
    cluster.incarnations[name] = life
    cluster.network.hellos[name] = cluster.network.hellos[name]._replace(incarnation=life)
    cluster.dismissed.add(name)
    await cluster.start(name)
    async with asyncio.timeout(20):
        while name not in cluster.retired:
            await asyncio.sleep(0.01)
    assert (cluster.leader, cluster.failures) == (leader, [])


@virtual
async def test_a_new_address_is_taken_over():
    cluster = await Cluster().start_all()
    name = cluster.followers[0].replica_id
    await cluster.crash(name)
    moved = cluster.network.hellos[name]._replace(api_address="new:1", peer_address="new:2")
    cluster.network.hellos[name] = moved
    await cluster.start(name)
    await cluster.settle()
    async with asyncio.timeout(5):
        while effective(cluster).get(name).peer_address != "new:2":
            await asyncio.sleep(0.01)
    assert effective(cluster).get(name).api_address == "new:1"
    assert effective(cluster).get(name).voter


@virtual
async def test_the_members_survive_a_restart_of_all_with_the_log_and_with_the_snapshot():
    cluster = await four()
    await cluster.leader.administration.promote("r4", timeout=1)
    for settings in (0, 20):
        for number in range(settings):
            await cluster.leader.propose(put(f"more{number}"), timeout=1)
        await asyncio.sleep(1)
        for name in list(cluster.alive):
            await cluster.crash(name)
        for name in cluster.names:
            await cluster.start(name)
        await cluster.settle()
        assert effective(cluster).voters == ("r1", "r2", "r3", "r4")
    assert cluster.leader.membership.changes[0][0] > 0, "the snapshot has them"


@virtual
async def test_members_change_only_when_all_understand_it():
    cluster = await Cluster().start_all()
    follower = cluster.followers[0].replica_id
    cluster.leader.node.feature_levels.heard(follower, 1)
    with pytest.raises(RefusedError, match="upgrade all of them first"):
        await add(cluster, "r4")


@virtual
async def test_a_leader_changes_nothing_before_an_entry_of_its_own_term_is_committed():
    """Else two leaders, one after the other, may each begin a change from the same members."""
    cluster = await Cluster().start_all()
    former = cluster.leader.replica_id
    elected: list[str] = []

    def make_deaf(name, leadership):
        if leadership.role == "leader" and not elected:
            elected.append(name)
            for other in cluster.names:
                cluster.network.mute(other, name)

    cluster.on_role_change = make_deaf
    await cluster.crash(former)
    async with asyncio.timeout(5):
        while not elected:
            await asyncio.sleep(0.001)
    store = cluster.stores[elected[0]]
    assert store.leadership().role == "leader"
    with pytest.raises(NotLeaderError):
        await store.administration.add("r4", api_address="r4", peer_address="r4", timeout=0.1)
    assert store.membership.effective.get("r4") is None
