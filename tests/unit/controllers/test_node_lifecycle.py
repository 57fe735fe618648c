"""Pods of silent nodes are given up after a while, and never because of a failover."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.client import Client
from h9s.client.cache import Cache
from h9s.config import ClientConfig
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Wake
from h9s.controllers.decision import BATCH_SIZE, Decision
from h9s.controllers.node_lifecycle.controller import NodeLifecycleController
from h9s.controllers.node_lifecycle.decide import NodeSnapshot, decide
from h9s.testing.fake_api import FakeApi

Op = api_pb2.Operation


class TestClock:
    """Time as the test says."""

    __test__ = False

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now


def make_node(name: str = "n1", *, ready: str = "True") -> core_pb2.Node:
    condition = meta_pb2.Condition(
        type="Ready", status=ready, message="" if ready == "True" else "no heartbeat"
    )
    return core_pb2.Node(
        metadata=meta_pb2.ObjectMeta(name=name, uid=f"uid-{name}", resource_version="5"),
        status=core_pb2.NodeStatus(conditions=[condition]),
    )


def make_pod(name: str, *, node: str = "n1", terminating: bool = False) -> core_pb2.Pod:
    pod = core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"),
        spec=core_pb2.PodSpec(node_name=node),
    )
    if terminating:
        pod.metadata.deletion_timestamp.seconds = 1
    return pod


def make_snapshot(**fields) -> NodeSnapshot:
    defaults = {
        "name": "n1",
        "node": make_node(ready="Unknown"),
        "pods": (make_pod("a"), make_pod("b")),
        "now": 106.0,
        "not_ready_since": 100.0,
        "patience_since": 0.0,
        "any_ready": True,
        "eviction_timeout_seconds": 5.0,
    }
    return NodeSnapshot(**{**defaults, **fields})


def deleted(decision: Decision) -> list[str]:
    return [op.key.name for op in decision.operations if op.verb == Op.DELETE]


def test_the_pods_of_a_node_that_was_silent_long_enough_are_given_up():
    decision = decide(make_snapshot())
    assert deleted(decision) == ["a", "b"]
    assert not any(op.HasField("grace_period_seconds") for op in decision.operations)
    assert [(note.about.metadata.name, note.reason) for note in decision.notes] == [
        ("a", "NodeNotReady"),
        ("b", "NodeNotReady"),
    ]


def test_the_eviction_fails_if_the_node_has_come_back():
    guard = decide(make_snapshot()).operations[0]
    assert (guard.verb, guard.key.kind, guard.preconditions.mod_revision) == (Op.CHECK, "Node", 5)


def test_before_the_timeout_it_waits_for_the_rest_of_it():
    decision = decide(make_snapshot(now=102.0))
    assert not decision.operations
    assert decision.again_after == 3.0


def test_what_was_before_this_process_led_does_not_count():
    decision = decide(make_snapshot(patience_since=104.0))
    assert not decision.operations
    assert decision.again_after == 3.0


def test_a_ready_node_keeps_its_pods():
    assert decide(make_snapshot(not_ready_since=None)) == Decision()


def test_where_no_node_is_ready_nothing_is_given_up():
    assert decide(make_snapshot(any_ready=False)) == Decision()


def test_terminating_pods_wait_for_their_node():
    assert decide(make_snapshot(pods=(make_pod("a", terminating=True),))) == Decision()


def test_the_pods_of_a_node_that_does_not_exist_go_at_once():
    decision = decide(make_snapshot(node=None, pods=(make_pod("a"), make_pod("b", terminating=True))))
    assert deleted(decision) == ["a", "b"]
    assert [op.grace_period_seconds for op in decision.operations if op.verb == Op.DELETE] == [0, 0]
    guard = decision.operations[0]
    assert guard.verb == Op.CHECK
    assert guard.preconditions.HasField("mod_revision")
    assert guard.preconditions.mod_revision == 0


def test_very_many_pods_go_in_several_commits():
    pods = tuple(make_pod(str(index)) for index in range(BATCH_SIZE + 1))
    assert len(deleted(decide(make_snapshot(pods=pods)))) == BATCH_SIZE


class Harness:
    """The controller over a cache that is filled by hand."""

    def __init__(self) -> None:
        self.clock = TestClock()
        config = ClientConfig(servers=("a:1",), ca=b"", certificate=b"", key=b"")
        client = Client(config, clock=self.clock, rng=random.Random(1), transport=FakeApi())
        self.cluster = Cluster(client)
        self.controller = NodeLifecycleController(
            self.cluster, clock=self.clock, eviction_timeout_seconds=5.0
        )
        self.woken: list[str] = []
        for wake in self.controller.wakes():
            wake.collection.add_handler(partial(self.note, wake))
        self.controller.first_keys()

    def note(self, wake: Wake[str], old: Any, new: Any) -> None:
        self.woken.extend(wake.keys(old, new))

    @property
    def cache(self) -> Cache:
        return self.cluster.cache

    def put(self, *objects: core_pb2.Node | core_pb2.Pod) -> None:
        for obj in objects:
            self.cache.of(type(obj)).apply((obj.metadata.namespace, obj.metadata.name), obj)

    async def evicted(self, name: str = "n1") -> list[str]:
        return deleted(await self.controller.decide(name))


async def test_time_counts_from_when_the_node_was_seen_to_be_silent():
    harness = Harness()
    harness.put(make_node(), make_node("n2"), make_pod("a"))
    harness.clock.now += 100
    harness.put(make_node(ready="Unknown"))
    harness.clock.now += 4.9
    assert await harness.evicted() == []
    harness.clock.now += 0.2
    assert await harness.evicted() == ["a"]


async def test_a_node_that_came_back_in_between_starts_anew():
    harness = Harness()
    harness.put(make_node(ready="Unknown"), make_node("n2"), make_pod("a"))
    harness.clock.now += 4
    harness.put(make_node())
    harness.put(make_node(ready="Unknown"))
    harness.clock.now += 4
    assert await harness.evicted() == []


async def test_a_new_leader_waits_for_the_whole_timeout():
    harness = Harness()
    harness.put(make_node(ready="Unknown"), make_node("n2"), make_pod("a"))
    harness.clock.now += 60
    harness.controller.first_keys()
    assert await harness.evicted() == []
    harness.clock.now += 5.1
    assert await harness.evicted() == ["a"]


async def test_when_all_nodes_were_silent_the_first_one_back_does_not_doom_the_others():
    harness = Harness()
    harness.put(make_node(ready="Unknown"), make_node("n2", ready="Unknown"), make_pod("a"))
    harness.clock.now += 60
    assert await harness.evicted() == []
    harness.woken.clear()
    harness.put(make_node("n2"))
    assert set(harness.woken) == {"n1", "n2"}
    assert await harness.evicted() == []
    harness.clock.now += 5.1
    assert await harness.evicted() == ["a"]


async def test_changes_of_readiness_are_told():
    harness = Harness()
    harness.put(make_node(), make_node("n2"))
    harness.put(make_node(ready="Unknown"))
    (note,) = (await harness.controller.decide("n1")).notes
    assert (note.type, note.reason) == ("Warning", "NodeNotReady")
    assert note.message == "node n1 is not ready: no heartbeat"
    harness.put(make_node())
    (note,) = (await harness.controller.decide("n1")).notes
    assert (note.type, note.reason) == ("Normal", "NodeReady")
    assert (await harness.controller.decide("n1")).notes == ()


async def test_a_pod_that_is_bound_to_a_node_wakes_it():
    harness = Harness()
    harness.put(make_pod("a", node=""))
    assert harness.woken == []
    harness.put(make_pod("a", node="n7"))
    assert harness.woken == ["n7"]
    harness.put(make_pod("a", node="n7"))
    assert harness.woken == ["n7"]
