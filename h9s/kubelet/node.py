"""The node's own object: makes it, keeps it true, and tells the leader every second that it lives.

Never writes whether the node is ready: the apiservers do, from the heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import h9s
from h9s._pb import core_pb2, meta_pb2
from h9s.api import quantity
from h9s.client.client import Client
from h9s.client.retry import is_retriable
from h9s.clock import Clock
from h9s.errors import AlreadyExistsError, ConflictError, H9sError, NotFoundError
from h9s.kubelet import metrics
from h9s.kubelet.runtime import RuntimeInfo
from h9s.kubelet.settings import HowbeletSettings

logger = logging.getLogger(__name__)

#: How many pods a node takes: Kubernetes' default.
_MAX_PODS = 110
#: Until the leader says otherwise.
_FIRST_INTERVAL_SECONDS = 1.0
#: A heartbeat that took longer is worth less than the next one.
_HEARTBEAT_TIMEOUT_SECONDS = 2.0


def node_status(info: RuntimeInfo, settings: HowbeletSettings, *, machine_id: str) -> core_pb2.NodeStatus:
    """What the node has to give and where it is found. Pure."""
    capacity = {
        "cpu": quantity.format_millis(info.cpu_millis),
        "memory": quantity.format_bytes(info.memory_bytes),
        "pods": str(_MAX_PODS),
    }
    status = core_pb2.NodeStatus(
        capacity=capacity,
        allocatable=capacity,
        addresses=[
            core_pb2.NodeAddress(type="InternalIP", address=settings.address),
            core_pb2.NodeAddress(type="Hostname", address=settings.node_name),
        ],
        node_info=core_pb2.NodeSystemInfo(
            machine_id=machine_id,
            kernel_version=info.kernel_version,
            os_image=info.os_image,
            container_runtime_version=info.version,
            kubelet_version=f"v{h9s.__version__}",
            operating_system=info.operating_system,
            architecture=info.architecture,
        ),
    )
    status.daemon_endpoints.kubelet_endpoint.port = settings.port
    return status


def node_labels(info: RuntimeInfo, settings: HowbeletSettings) -> dict[str, str]:
    """The labels that every node has."""
    return {
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": info.operating_system,
        "kubernetes.io/arch": info.architecture,
    }


class NodeAgent:
    """Registers one node and beats its heart."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        settings: HowbeletSettings,
        is_healthy: Callable[[], bool],
    ) -> None:
        """While `is_healthy` says no there are no heartbeats: pods are better off elsewhere."""
        self._client = client
        self._clock = clock
        self._settings = settings
        self._is_healthy = is_healthy
        self._must_register = asyncio.Event()
        self._registered = asyncio.Event()

    async def run(self, info: RuntimeInfo) -> NoReturn:
        """Until cancelled. Raises what trying again does not mend."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_registered(info))
            group.create_task(self._beat())
        raise AssertionError("heartbeats do not end")

    async def _keep_registered(self, info: RuntimeInfo) -> NoReturn:
        status = node_status(info, self._settings, machine_id=_machine_id())
        labels = node_labels(info, self._settings)
        while True:
            self._must_register.clear()
            try:
                await self.register(status, labels)
                self._registered.set()
                pause = self._settings.node_refresh_seconds
            except H9sError as error:
                if not is_retriable(error) and not isinstance(error, ConflictError | NotFoundError):
                    raise
                logger.warning("node %s is not registered yet: %s", self._settings.node_name, error.message)
                pause = _FIRST_INTERVAL_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._must_register.wait()
            except TimeoutError:
                pass

    async def register(self, status: core_pb2.NodeStatus, labels: dict[str, str]) -> None:
        """Make the object if there is none, and correct what is not true of it any more."""
        name = self._settings.node_name
        try:
            node = await self._client.get(core_pb2.Node, name)
        except NotFoundError:
            fresh = core_pb2.Node(metadata=meta_pb2.ObjectMeta(name=name, labels=labels))
            try:
                node = await self._client.create(fresh)
                logger.info("registered as node %s", name)
            except AlreadyExistsError:
                node = await self._client.get(core_pb2.Node, name)
        if any(node.metadata.labels.get(label) != value for label, value in labels.items()):
            node.metadata.labels.update(labels)
            node = await self._client.update(node)
        wanted = core_pb2.NodeStatus()
        wanted.CopyFrom(status)
        # Whoever judges the node's health owns its conditions.
        wanted.conditions.extend(node.status.conditions)
        if node.status != wanted:
            node.status.CopyFrom(wanted)
            await self._client.update_status(node)

    async def _beat(self) -> NoReturn:
        await self._registered.wait()
        interval, heard, well = _FIRST_INTERVAL_SECONDS, True, True
        while True:
            started = self._clock.monotonic()
            if self._is_healthy() != well:
                well = not well
                logger.warning(
                    "heartbeats %s: the runtime %s", *(("start", "is back") if well else ("stop", "is away"))
                )
            if well:
                interval, heard = await self._beat_once(interval, heard)
            await asyncio.sleep(max(interval - (self._clock.monotonic() - started), 0.0))

    async def _beat_once(self, interval: float, heard: bool) -> tuple[float, bool]:
        """One heartbeat; gives the interval to the next, and whether a leader took this one."""
        try:
            answer = await self._client.heartbeat(
                self._settings.node_name, timeout=_HEARTBEAT_TIMEOUT_SECONDS
            )
        except NotFoundError:
            logger.warning("node %s was deleted; registering it again", self._settings.node_name)
            self._must_register.set()
            return interval, True
        except H9sError as error:
            if not is_retriable(error):
                raise
            metrics.HEARTBEAT_FAILURES.inc()
            if heard:
                logger.warning("no leader takes heartbeats: %s", error.message)
            return interval, False
        if not heard:
            logger.info("a leader takes heartbeats again")
        return answer.interval_ms / 1000 or interval, True


def _machine_id() -> str:
    path = Path("/etc/machine-id")
    return path.read_text(encoding="ascii").strip() if path.exists() else platform.node()
