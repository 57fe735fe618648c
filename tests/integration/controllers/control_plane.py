"""A real apiserver on loopback with the scheduler, the controllers, and nodes that only pretend."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from typing import Any

from h9s import pki
from h9s._pb import apps_pb2, core_pb2
from h9s.api import codec
from h9s.api.kinds import ApiObject, M
from h9s.client import BatchingClient, Client
from h9s.client.cache import Cache
from h9s.clock import now_timestamp
from h9s.controllers.manager import ControllerManager
from h9s.controllers.settings import Settings
from h9s.errors import ConflictError, NotFoundError
from h9s.scheduler.scheduler import Scheduler
from tests.integration.apiserver.serving import Serving, serving, until

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "app:v1"}]
"""


_DEFAULTS = Settings()


class Howbelet:
    """Says that every pod of its node runs, and that every pod it shall stop has stopped."""

    def __init__(self, client: Client, name: str) -> None:
        self.name = name
        self._client = client
        self._cache = Cache(client, (core_pb2.Pod,))
        #: Pods of these images never become ready.
        self.broken: set[str] = set()

    async def register(self) -> None:
        node = core_pb2.Node()
        node.metadata.name = self.name
        node.status.allocatable.update({"cpu": "4", "memory": "8Gi", "pods": "110"})
        await self._client.create(node)

    async def beat(self) -> None:
        while True:
            await self._client.heartbeat(self.name)
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        pods: asyncio.Queue[core_pb2.Pod] = asyncio.Queue()
        self._cache.of(core_pb2.Pod).add_handler(lambda _, new: pods.put_nowait(new) if new else None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cache.run())
            while True:
                pod = await pods.get()
                if pod.spec.node_name == self.name:
                    group.create_task(self._take(pod))

    async def _take(self, pod: core_pb2.Pod) -> None:
        with contextlib.suppress(NotFoundError, ConflictError):
            metadata = pod.metadata
            if metadata.HasField("deletion_timestamp"):
                await self._client.delete(
                    core_pb2.Pod, metadata.name, metadata.namespace, uid=metadata.uid, grace_period_seconds=0
                )
            elif pod.status.phase == "Pending" and pod.spec.containers[0].image not in self.broken:
                running = copy.deepcopy(pod)
                running.status.phase = "Running"
                ready = running.status.conditions.add(type="Ready", status="True")
                ready.last_transition_time.CopyFrom(now_timestamp(self._client.clock))
                await self._client.update_status(running)


class ControlPlane:
    """What runs, and a user's view of it through `cache`."""

    def __init__(self, server: Serving, client: Client, cache: Cache) -> None:
        self.server = server
        self.client = client
        self.cache = cache
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.howbelets: dict[str, Howbelet] = {}

    def all(self, cls: type[M]) -> list[M]:
        return self.cache.of(cls).items()

    def get(self, cls: type[M], name: str, namespace: str = "default") -> M:
        found = self.cache.of(cls).get(namespace, name)
        assert found is not None
        return found

    def available(self) -> int:
        """Replicas that the Deployment `web` says are available."""
        web = self.cache.of(apps_pb2.Deployment).get("default", "web")
        return web.status.available_replicas if web is not None else 0

    def running(self, image: str = "") -> list[core_pb2.Pod]:
        return [
            pod
            for pod in self.all(core_pb2.Pod)
            if pod.status.phase == "Running"
            and not pod.metadata.HasField("deletion_timestamp")
            and image in ("", pod.spec.containers[0].image)
        ]

    async def apply(self, manifest: str) -> list[ApiObject]:
        objects = list(codec.load_manifests(manifest))
        for obj in objects:
            await self.client.create(obj)
        return objects

    async def edit(self, cls: type[M], name: str, change: Any, namespace: str = "default") -> None:
        """Read, change, write, again where somebody else was faster."""
        while True:
            obj = await self.client.get(cls, name, namespace)
            change(obj)
            try:
                await self.client.update(obj)
            except ConflictError:
                continue
            return

    async def set_image(self, image: str) -> None:
        def change(web: apps_pb2.Deployment) -> None:
            web.spec.template.spec.containers[0].image = image

        await self.edit(apps_pb2.Deployment, "web", change)

    def start(self, name: str, coroutine: Any) -> None:
        self.tasks[name] = asyncio.create_task(coroutine, name=name)

    async def stop(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def add_node(self, name: str) -> Howbelet:
        howbelet = self.howbelets[name] = Howbelet(self.client, name)
        await howbelet.register()
        self.start(f"{name}-beat", howbelet.beat())
        self.start(name, howbelet.run())
        return howbelet

    async def silence(self, name: str) -> None:
        """The node and its howbelet are gone, without a word."""
        await self.stop(f"{name}-beat")
        await self.stop(name)

    async def until(self, condition: Any, *, seconds: float = 10.0) -> None:
        """Wait for a condition; whatever runs must not die meanwhile."""

        def holds() -> bool:
            for task in self.tasks.values():
                if task.done():
                    task.result()
            return bool(condition())

        await until(holds, seconds=seconds)

    async def until_quiet(self, *, seconds: float) -> None:
        """Wait until nothing has been written for so long."""
        loop, store = asyncio.get_running_loop(), self.server.store
        seen, since = store.revision, loop.time()

        def quiet() -> bool:
            nonlocal seen, since
            if store.revision != seen:
                seen, since = store.revision, loop.time()
            return loop.time() - since >= seconds

        await self.until(quiet)


@contextlib.asynccontextmanager
async def control_plane(
    *, nodes: int = 2, managers: int = 1, settings: Settings = _DEFAULTS, **timings: Any
) -> AsyncIterator[ControlPlane]:
    """Everything runs until the block ends. All of `managers` act at once, as they never should."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(**timings))

        async def component(name: str) -> BatchingClient:
            client = server.client(name, pki.ROLE_COMPONENT, cls=BatchingClient)
            assert isinstance(client, BatchingClient)
            return await stack.enter_async_context(client)

        user = await stack.enter_async_context(server.client())
        cache = Cache(
            user, (core_pb2.Namespace, core_pb2.Node, core_pb2.Pod, apps_pb2.ReplicaSet, apps_pb2.Deployment)
        )
        plane = ControlPlane(server, await component("tester"), cache)
        plane.start("cache", cache.run())
        scheduler = Scheduler(await component("scheduler"))
        plane.start("scheduler-watch", scheduler.watch())
        plane.start("scheduler-lead", scheduler.lead())
        for index in range(managers):
            manager = ControllerManager(await component(f"manager-{index}"), settings)
            plane.start(f"manager-{index}-watch", manager.watch())
            plane.start(f"manager-{index}-lead", manager.lead())
        try:
            for index in range(nodes):
                await plane.add_node(f"n{index + 1}")
            yield plane
        finally:
            for name in list(plane.tasks):
                await plane.stop(name)
