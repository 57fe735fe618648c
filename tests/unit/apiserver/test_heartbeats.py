"""Which nodes are alive, without a write per heartbeat."""

import asyncio

import pytest

from h9s.api import conditions
from h9s.apiserver.heartbeats import Liveness, NodeMonitor
from h9s.client.operations import create, delete
from h9s.errors import NotFoundError, NotLeaderError
from h9s.store.protocol import Leadership
from h9s.testing.virtual_loop import VirtualTimeLoop, run_virtual
from tests.unit.apiserver.support import Cluster, node

LEADER = Leadership("r1", "leader", "r1", "10.0.0.1:7400", 3, ready=True)
FOLLOWER = Leadership("r1", "follower", "r2", "10.0.0.2:7400", 2, ready=False)


def judged(liveness, name, status, *, now):
    verdict = liveness.judge(name, status, now=now)
    return "" if verdict is None else verdict.status


class TestLiveness:
    def test_the_first_beat_makes_a_node_ready(self):
        liveness = Liveness(grace_period=5)
        assert liveness.judge("n1", "", now=0) is None
        liveness.beat("n1", now=1)
        assert judged(liveness, "n1", "", now=1) == "True"
        assert liveness.judge("n1", "True", now=2) is None

    def test_silence_beyond_the_grace_period_makes_it_unknown(self):
        liveness = Liveness(grace_period=5)
        liveness.beat("n1", now=0)
        assert liveness.judge("n1", "True", now=4.9) is None
        verdict = liveness.judge("n1", "True", now=5)
        assert verdict is not None
        assert (verdict.status, verdict.reason) == ("Unknown", "NodeStatusUnknown")
        assert "5 s" in verdict.message
        assert liveness.judge("n1", "Unknown", now=6) is None

    def test_a_beat_after_that_makes_it_ready_again(self):
        liveness = Liveness(grace_period=5)
        liveness.judge("n1", "Unknown", now=10)
        liveness.beat("n1", now=11)
        assert judged(liveness, "n1", "Unknown", now=11) == "True"

    def test_starting_over_gives_one_fresh_grace_period(self):
        liveness = Liveness(grace_period=5)
        liveness.beat("n1", now=0)
        liveness.start_over()
        assert liveness.judge("n1", "True", now=100) is None
        assert liveness.judge("n1", "True", now=104) is None
        assert judged(liveness, "n1", "True", now=105) == "Unknown"

    def test_starting_over_does_not_call_a_silent_node_ready(self):
        liveness = Liveness(grace_period=5)
        liveness.beat("n1", now=0)
        liveness.start_over()
        assert liveness.judge("n1", "Unknown", now=1) is None

    def test_a_node_that_is_gone_is_forgotten(self):
        liveness = Liveness(grace_period=5)
        liveness.beat("n1", now=0)
        liveness.keep_only(["n2"])
        assert liveness.alive() == 0
        assert liveness.judge("n1", "", now=100) is None


def monitored(test):
    """Run a test with a cluster of one node and a monitor that runs."""

    async def run():
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(node("n1")))
        monitor = NodeMonitor(
            cluster.store, committer=cluster.committer, clock=cluster.clock, grace_period=5.0
        )
        running = asyncio.create_task(monitor.run())
        await test(cluster, monitor)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def run_test():
        run_virtual(run)

    run_test.__name__ = test.__name__
    return run_test


def ready(cluster, name="n1"):
    condition = conditions.get(cluster.get(node(name)).status.conditions, "Ready")
    return condition.status if condition else ""


async def beat_for(monitor, seconds, name="n1"):
    for _ in range(seconds):
        monitor.beat(name)
        await asyncio.sleep(1)


@monitored
async def test_beats_cost_one_commit_in_all(cluster, monitor):
    before = cluster.store.revision
    await beat_for(monitor, 60)
    assert ready(cluster) == "True"
    assert cluster.store.revision == before + 1


@monitored
async def test_a_node_is_ready_at_once(cluster, monitor):
    await asyncio.sleep(1.01)
    monitor.beat("n1")
    await asyncio.sleep(0.01)
    assert ready(cluster) == "True"


@monitored
async def test_a_silent_node_becomes_unknown_once(cluster, monitor):
    await beat_for(monitor, 3)
    before = cluster.store.revision
    await asyncio.sleep(3.9)
    assert ready(cluster) == "True"
    await asyncio.sleep(1)
    assert ready(cluster) == "Unknown"
    await asyncio.sleep(60)
    assert cluster.store.revision == before + 1


@monitored
async def test_a_node_that_never_beats_becomes_unknown(cluster, monitor):
    await asyncio.sleep(5.5)
    assert ready(cluster) == "Unknown"


@monitored
async def test_a_new_leader_gives_every_node_a_fresh_grace_period(cluster, monitor):
    await beat_for(monitor, 2)
    cluster.store.set_leadership(FOLLOWER)
    await asyncio.sleep(60)
    cluster.store.set_leadership(LEADER)
    await asyncio.sleep(4.5)
    assert ready(cluster) == "True"
    await beat_for(monitor, 10)
    assert ready(cluster) == "True"


@monitored
async def test_so_does_one_that_lost_the_lead_for_a_moment(cluster, monitor):
    await beat_for(monitor, 2)
    await asyncio.sleep(3.9)
    cluster.store.set_leadership(LEADER._replace(term=9))
    await asyncio.sleep(4)
    assert ready(cluster) == "True"


@monitored
async def test_so_does_one_that_was_itself_stopped(cluster, monitor):
    await beat_for(monitor, 2)
    # As SIGSTOP does it: the clock goes on, the loop does not.
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._now += 600
    await asyncio.sleep(1)
    assert ready(cluster) == "True"


@monitored
async def test_a_follower_changes_nothing(cluster, monitor):
    cluster.store.set_leadership(FOLLOWER)
    before = cluster.store.revision
    await asyncio.sleep(60)
    assert cluster.store.revision == before
    with pytest.raises(NotLeaderError) as caught:
        monitor.beat("n1")
    assert caught.value.leader_address == "10.0.0.2:7400"


@monitored
async def test_a_node_without_an_object_is_told_so(cluster, monitor):
    with pytest.raises(NotFoundError):
        monitor.beat("stranger")
    await cluster.commit(delete(node("n1")))
    with pytest.raises(NotFoundError):
        monitor.beat("n1")


@monitored
async def test_a_deleted_node_comes_back_by_its_beats(cluster, monitor):
    await beat_for(monitor, 2)
    await cluster.commit(delete(node("n1")))
    await asyncio.sleep(1)
    await cluster.commit(create(node("n1")))
    await asyncio.sleep(1)
    assert ready(cluster) == ""
    await beat_for(monitor, 1)
    assert ready(cluster) == "True"


@monitored
async def test_each_node_for_itself(cluster, monitor):
    await cluster.commit(create(node("n2")))
    for _ in range(8):
        monitor.beat("n1")
        await asyncio.sleep(1)
    assert (ready(cluster, "n1"), ready(cluster, "n2")) == ("True", "Unknown")
