"""Scheduler and controllers over a real apiserver: what users declare comes true."""

from __future__ import annotations

import asyncio
from collections import Counter

from h9s._pb import apps_pb2, core_pb2
from h9s.api import conditions
from h9s.api.pods import is_active
from h9s.controllers.settings import Settings
from tests.integration.controllers.control_plane import DEPLOYMENT, control_plane


async def test_a_deployment_becomes_running_pods_on_all_nodes():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 30)
        await plane.until(lambda: len(plane.running()) == 30)
        assert Counter(pod.spec.node_name for pod in plane.running()) == {"n1": 15, "n2": 15}
        await plane.until(lambda: plane.available() == 30)
        web = plane.get(apps_pb2.Deployment, "web")
        progressing = conditions.get(web.status.conditions, "Progressing")
        assert progressing is not None
        assert progressing.reason == "NewReplicaSetAvailable"
        assert web.metadata.annotations["deployment.kubernetes.io/revision"] == "1"


async def test_two_managers_at_once_create_nothing_twice():
    async with control_plane(managers=3) as plane:
        await plane.apply(DEPLOYMENT % 20)
        await plane.until(lambda: plane.available() == 20)
        assert len(plane.all(core_pb2.Pod)) == 20
        await plane.set_image("app:v2")
        await plane.until(lambda: len(plane.running("app:v2")) == 20)
        await plane.until(lambda: len(plane.all(core_pb2.Pod)) == 20)
        assert len(plane.all(apps_pb2.ReplicaSet)) == 2


async def test_a_rollout_keeps_enough_pods_available():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 8)
        await plane.until(lambda: len(plane.running()) == 8)
        fewest: list[int] = []
        most: list[int] = []

        def count(_old: core_pb2.Pod | None, _new: core_pb2.Pod | None) -> None:
            fewest.append(len(plane.running()))
            most.append(sum(map(is_active, plane.all(core_pb2.Pod))))

        plane.cache.of(core_pb2.Pod).add_handler(count)
        await plane.set_image("app:v2")
        await plane.until(lambda: len(plane.running("app:v2")) == 8 and len(plane.all(core_pb2.Pod)) == 8)
        assert min(fewest) >= 6
        assert max(most) <= 10


async def test_deleting_a_deployment_takes_everything_along():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 5)
        await plane.until(lambda: len(plane.running()) == 5)
        await plane.client.delete(apps_pb2.Deployment, "web", "default")
        await plane.until(lambda: not plane.all(core_pb2.Pod) and not plane.all(apps_pb2.ReplicaSet))


async def test_deleting_in_the_foreground_and_with_orphans():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 3)
        await plane.until(lambda: len(plane.running()) == 3)
        await plane.client.delete(apps_pb2.Deployment, "web", "default", propagation_policy="Orphan")
        await plane.until(lambda: not plane.all(apps_pb2.Deployment))
        (orphan,) = plane.all(apps_pb2.ReplicaSet)
        assert not orphan.metadata.owner_references
        assert len(plane.running()) == 3
        await plane.client.delete(
            apps_pb2.ReplicaSet, orphan.metadata.name, "default", propagation_policy="Foreground"
        )
        await plane.until(lambda: not plane.all(apps_pb2.ReplicaSet))
        assert not plane.all(core_pb2.Pod)


async def test_a_deleted_pod_is_replaced_at_once():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 2)
        await plane.until(lambda: len(plane.running()) == 2)
        gone = plane.running()[0].metadata
        await plane.client.delete(core_pb2.Pod, gone.name, gone.namespace)
        await plane.until(
            lambda: len(plane.running()) == 2 and all(p.metadata.uid != gone.uid for p in plane.running())
        )


async def test_the_pods_of_a_silent_node_are_replaced_elsewhere():
    settings = Settings(pod_eviction_timeout=0.5)
    async with control_plane(settings=settings, node_grace_period_ms=500) as plane:
        await plane.apply(DEPLOYMENT % 4)
        await plane.until(lambda: len(plane.running()) == 4)
        await plane.silence("n1")
        await plane.until(lambda: [pod.spec.node_name for pod in plane.running()] == ["n2"] * 4, seconds=20)
        left = [pod for pod in plane.all(core_pb2.Pod) if pod.spec.node_name == "n1"]
        assert all(pod.metadata.HasField("deletion_timestamp") for pod in left)
        await plane.client.delete(core_pb2.Node, "n1")
        await plane.until(lambda: len(plane.all(core_pb2.Pod)) == 4)


async def test_a_deleted_namespace_takes_its_content_along():
    async with control_plane() as plane:
        await plane.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}")
        await plane.apply((DEPLOYMENT % 3).replace("namespace: default", "namespace: shop"))
        await plane.until(lambda: len(plane.running()) == 3)
        await plane.client.delete(core_pb2.Namespace, "shop")
        await plane.until(lambda: plane.cache.of(core_pb2.Namespace).get("", "shop") is None, seconds=20)
        assert not plane.all(core_pb2.Pod)
        assert not plane.all(apps_pb2.Deployment)


async def test_events_tell_what_happened():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 3)
        await plane.until(lambda: len(plane.running()) == 3)
        reasons: set[str] = set()
        async with asyncio.timeout(20):
            while not {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"} <= reasons:
                reasons = {event.reason for event in (await plane.client.list(core_pb2.Event)).items}
                await asyncio.sleep(0.05)


async def test_old_events_are_deleted():
    async with control_plane(settings=Settings(event_ttl=1.0)) as plane:
        event = core_pb2.Event(reason="Old", message="long ago", type="Normal")
        event.metadata.name, event.metadata.namespace = "old", "default"
        event.last_timestamp.seconds = 1
        event.involved_object.kind, event.involved_object.name = "Pod", "a"
        event.involved_object.namespace = "default"
        await plane.client.create(event)
        async with asyncio.timeout(20):
            while (await plane.client.list(core_pb2.Event, field_selector="metadata.name=old")).items:
                await asyncio.sleep(0.05)


async def test_an_idle_cluster_writes_nothing():
    async with control_plane() as plane:
        await plane.apply(DEPLOYMENT % 3)
        await plane.until(lambda: plane.available() == 3)
        await plane.until_quiet(seconds=1.5)
