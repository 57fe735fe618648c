"""All controllers of one process, at work while it leads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from h9s.client import Client, EventRecorder
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Controller, ControlLoop
from h9s.controllers.deployment.controller import DeploymentController
from h9s.controllers.event_ttl import EventTtlController
from h9s.controllers.garbage_collector.controller import GarbageCollector
from h9s.controllers.namespace import NamespaceController
from h9s.controllers.node_lifecycle.controller import NodeLifecycleController
from h9s.controllers.pod_gc import PodGarbageCollector
from h9s.controllers.replica_set.controller import ReplicaSetController
from h9s.controllers.settings import Settings

COMPONENT = "howbe-controller-manager"


class ControllerManager:
    """The controllers over one cache, which is kept current by standbys too: they take over at once."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._cluster = Cluster(client)
        self._recorder = EventRecorder(client, COMPONENT)
        self._loops: list[ControlLoop[Any]] = [
            ControlLoop(controller, client=client, cache=self._cluster.cache, recorder=self._recorder)
            for controller in _controllers(self._cluster, client, settings)
        ]

    async def watch(self) -> None:
        """Keep the cache current and write events, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cluster.cache.run(), name="cache")
            group.create_task(self._recorder.run(), name="events")

    async def lead(self) -> None:
        """Run all controllers until cancelled. `watch` must be running."""
        await self._cluster.cache.synced.wait()
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(loop.run(), name=loop.name)


def _controllers(cluster: Cluster, client: Client, settings: Settings) -> Sequence[Controller[Any]]:
    clock = client.clock
    return (
        ReplicaSetController(cluster, clock=clock),
        DeploymentController(cluster, clock=clock),
        GarbageCollector(cluster),
        NodeLifecycleController(cluster, clock=clock, eviction_timeout_seconds=settings.pod_eviction_timeout),
        NamespaceController(cluster, client),
        PodGarbageCollector(cluster, threshold=settings.terminated_pod_threshold),
        EventTtlController(client, ttl_seconds=settings.event_ttl),
    )
