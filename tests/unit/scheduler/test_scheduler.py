"""The scheduling loop against a cluster in memory, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from h9s._pb import api_pb2, core_pb2
from h9s.api import conditions
from h9s.api.kinds import M
from h9s.api.objects import from_object
from h9s.client import BatchingClient
from h9s.errors import InvalidError
from h9s.scheduler.scheduler import Scheduler
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_batching_client, until, virtual
from tests.unit.scheduler.test_state import make_node, make_pod


class Cluster:
    """What is in the fake."""

    def __init__(self) -> None:
        self.api = FakeApi()

    def put(self, *objects: core_pb2.Pod | core_pb2.Node) -> None:
        for obj in objects:
            self.api.objects.put(obj)
        self.api.notify()

    def remove(self, obj: core_pb2.Pod | core_pb2.Node) -> None:
        self.api.objects.remove(obj)
        self.api.notify()

    def all(self, cls: type[M]) -> list[M]:
        found = (from_object(stored) for _, stored in sorted(self.api.objects.objects.items()))
        return [obj for obj in found if isinstance(obj, cls)]

    def pod(self, name: str) -> core_pb2.Pod:
        return next(pod for pod in self.all(core_pb2.Pod) if pod.metadata.name == name)

    def bound(self) -> dict[str, str]:
        return {p.metadata.name: p.spec.node_name for p in self.all(core_pb2.Pod) if p.spec.node_name}

    def bindings(self) -> Counter[str]:
        """How often each pod has been changed while it had a node."""
        changes = (event for response in self.api.objects.history for event in response.events)
        found = (from_object(change.object) for change in changes)
        return Counter(
            pod.metadata.name for pod in found if isinstance(pod, core_pb2.Pod) and pod.spec.node_name
        )

    def events(self, reason: str) -> list[tuple[str, int]]:
        return [(e.message, e.count) for e in self.all(core_pb2.Event) if e.reason == reason]


@contextlib.asynccontextmanager
async def leading(cluster: Cluster, *, seed: int = 1) -> AsyncIterator[BatchingClient]:
    """A scheduler at work."""
    async with new_batching_client(cluster.api, name="scheduler", seed=seed) as client:
        scheduler = Scheduler(client)
        tasks = [asyncio.create_task(scheduler.watch()), asyncio.create_task(scheduler.lead())]
        try:
            yield client
            for task in tasks:
                assert not task.done(), task.exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_pods_that_are_there_are_bound_and_spread():
    cluster = Cluster()
    cluster.put(make_node("n1"), make_node("n2"), *(make_pod(f"p{i}") for i in range(6)))
    async with leading(cluster):
        await until(lambda: len(cluster.bound()) == 6)
    assert Counter(cluster.bound().values()) == {"n1": 3, "n2": 3}


@virtual
async def test_a_new_pod_is_bound_within_milliseconds():
    cluster = Cluster()
    cluster.put(make_node())
    async with leading(cluster):
        await asyncio.sleep(5)
        started = asyncio.get_running_loop().time()
        cluster.put(make_pod("late"))
        await until(lambda: "late" in cluster.bound())
        assert asyncio.get_running_loop().time() - started < 0.02


@virtual
async def test_a_bound_pod_is_told_by_an_event():
    cluster = Cluster()
    cluster.put(make_node(), make_pod("a"))
    async with leading(cluster):
        await until(lambda: bool(cluster.events("Scheduled")))
    assert cluster.events("Scheduled") == [("Successfully assigned default/a to n1", 1)]


@virtual
async def test_a_pod_that_fits_nowhere_is_told_once_per_reason():
    cluster = Cluster()
    node = make_node(cpu="1")
    cluster.put(node, make_pod("a", cpu="2"))
    async with leading(cluster):
        await until(lambda: bool(cluster.events("FailedScheduling")))
        for count in range(5):
            node.metadata.labels["count"] = str(count)
            cluster.put(node)
            await asyncio.sleep(1)
        too_small = (
            "0/1 nodes are available: 1 Insufficient cpu. n1: Insufficient cpu: requested 2, free 1 of 1"
        )
        assert cluster.events("FailedScheduling") == [(too_small, 1)]
        node.spec.unschedulable = True
        cluster.put(node)
        await asyncio.sleep(1)
        assert len(cluster.events("FailedScheduling")) == 2
        condition = conditions.get(cluster.pod("a").status.conditions, "PodScheduled")
        assert condition is not None
        assert (condition.status, condition.reason) == ("False", "Unschedulable")
        assert condition.message == "0/1 nodes are available: 1 node(s) were unschedulable."


@virtual
async def test_a_waiting_pod_is_bound_as_soon_as_a_node_joins():
    cluster = Cluster()
    cluster.put(make_pod("a"))
    async with leading(cluster):
        await until(lambda: bool(cluster.events("FailedScheduling")))
        started = asyncio.get_running_loop().time()
        cluster.put(make_node())
        await until(lambda: "a" in cluster.bound())
        assert asyncio.get_running_loop().time() - started < 0.05


@virtual
async def test_a_waiting_pod_is_bound_as_soon_as_another_goes():
    cluster = Cluster()
    first = make_pod("a", node="n1")
    cluster.put(make_node(cpu="1"), first, make_pod("b"))
    async with leading(cluster):
        await until(lambda: bool(cluster.events("FailedScheduling")))
        cluster.remove(first)
        await until(lambda: "b" in cluster.bound())


@virtual
async def test_a_pod_that_changed_meanwhile_is_bound_as_it_is_then():
    cluster = Cluster()
    pod = make_pod("a")
    cluster.put(make_node())

    def change_before_commit(_server, method, _request) -> None:
        if method == "CommitStream" and not cluster.pod("a").metadata.labels:
            pod.metadata.labels["changed"] = "yes"
            cluster.put(pod)

    cluster.api.intercept = change_before_commit
    cluster.put(pod)
    async with leading(cluster):
        await until(lambda: "a" in cluster.bound())
    assert cluster.pod("a").metadata.labels == {"changed": "yes"}


@virtual
async def test_a_pod_is_not_bound_to_a_node_that_has_just_been_cordoned():
    cluster = Cluster()
    node = make_node("n1")
    cluster.put(node, make_node("n2", cpu="3"))
    cordoned = False

    def cordon_before_commit(_server, method, _request) -> None:
        nonlocal cordoned
        if method == "CommitStream" and not cordoned:
            cordoned = node.spec.unschedulable = True
            cluster.put(node)

    cluster.api.intercept = cordon_before_commit
    cluster.put(make_pod("a"))
    async with leading(cluster):
        await until(lambda: "a" in cluster.bound())
    assert cluster.bound() == {"a": "n2"}


@virtual
async def test_a_lost_answer_binds_no_pod_twice():
    cluster = Cluster()
    cluster.put(make_node("n1"), make_node("n2"), make_pod("a"))
    cluster.api.lost_answers = 2
    async with leading(cluster):
        await until(lambda: bool(cluster.events("Scheduled")))
    assert cluster.bindings() == {"a": 1}


@virtual
async def test_two_schedulers_at_once_bind_every_pod_once():
    cluster = Cluster()
    cluster.put(make_node("n1", cpu="99"), make_node("n2", cpu="99"))
    async with leading(cluster, seed=1), leading(cluster, seed=2):
        cluster.put(*(make_pod(f"p{i}") for i in range(50)))
        await until(lambda: len(cluster.bound()) == 50)
    assert set(cluster.bindings().values()) == {1}


@virtual
async def test_a_refused_binding_is_told_and_tried_again():
    cluster = Cluster()
    refusals = 1

    cluster.put(make_node(), make_pod("a"))
    execute = cluster.api.objects._execute

    def refuse_bindings(request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        nonlocal refusals
        if refusals and request.operations[0].verb == api_pb2.Operation.CHECK:
            refusals -= 1
            raise InvalidError("the pod is cursed")
        return execute(request)

    cluster.api.objects._execute = refuse_bindings  # type: ignore[method-assign]
    async with leading(cluster):
        await until(lambda: "a" in cluster.bound())
        await until(lambda: bool(cluster.events("FailedBinding")))
    assert cluster.events("FailedBinding") == [("the pod is cursed", 1)]


@virtual
async def test_a_new_leader_schedules_on():
    cluster = Cluster()
    cluster.put(make_node("n1", cpu="99"))
    async with leading(cluster):
        cluster.put(*(make_pod(f"p{i}") for i in range(20)))
        await asyncio.sleep(0.004)
    async with leading(cluster, seed=2):
        await until(lambda: len(cluster.bound()) == 20)


@virtual
async def test_scheduling_goes_on_when_the_apiservers_change_their_leader():
    cluster = Cluster()
    cluster.put(make_node("n1", cpu="99"))
    async with leading(cluster):
        cluster.put(make_pod("a"))
        await until(lambda: "a" in cluster.bound())
        cluster.api.kill("a:1")
        cluster.api.leader = "b:1"
        cluster.put(make_pod("b"))
        await until(lambda: "b" in cluster.bound())
