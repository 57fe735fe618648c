"""The howbelet put together: what the API wants and what the runtime has, brought to one worker per pod.

Knows no runtime and no transport by name. Stopping it leaves every container running; starting it
again adopts them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn

from h9s._pb import core_pb2
from h9s.client.client import Client
from h9s.client.events import EventRecorder
from h9s.client.informer import Informer
from h9s.clock import Clock
from h9s.kubelet import metrics
from h9s.kubelet.checkpoint import Checkpoint
from h9s.kubelet.desired_pods import DesiredPods
from h9s.kubelet.node import NodeAgent
from h9s.kubelet.observed import ObservedPod
from h9s.kubelet.pod_worker import PodWorker
from h9s.kubelet.runtime import Runtime, RuntimeFailureError, RuntimeInfo
from h9s.kubelet.settings import HowbeletSettings
from h9s.kubelet.status_manager import StatusManager

logger = logging.getLogger(__name__)


class Howbelet:
    """Runs the pods that are bound to one node."""

    def __init__(
        self, client: Client, runtime: Runtime, *, clock: Clock, data_dir: Path, settings: HowbeletSettings
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._settings = settings
        self._recorder = EventRecorder(client, "howbelet", host=settings.node_name)
        self._statuses = StatusManager(client)
        self.desired = DesiredPods(Checkpoint(data_dir / "pods"), on_change=self._wake)
        self._informer = Informer(client, core_pb2.Pod, field_selector=f"spec.nodeName={settings.node_name}")
        self._node = NodeAgent(client, clock=clock, settings=settings, is_healthy=self._is_healthy)
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._last_answer = clock.monotonic()

    async def run(self, info: RuntimeInfo) -> NoReturn:
        """Work until cancelled. `info` is what the prepared runtime said of itself."""
        async with asyncio.TaskGroup() as group:
            self._informer.add_handler(self.desired.take)
            group.create_task(self._informer.run(), name="pods")
            group.create_task(self._statuses.run(), name="statuses")
            group.create_task(self._recorder.run(), name="events")
            group.create_task(self._node.run(info), name="node")
            await self._know_what_is_wanted(group)
            # From here on workers may act.
            self._group = group
            group.create_task(self._follow_runtime(), name="runtime events")
            group.create_task(self._resync(), name="resync")
        raise AssertionError("a howbelet does not end")

    async def _know_what_is_wanted(self, group: asyncio.TaskGroup) -> None:
        """Wait for the API's word; for a while only, if there are pods known from the last run."""
        try:
            async with asyncio.timeout(self._settings.away_seconds):
                await self._informer.synced.wait()
        except TimeoutError:
            count = self.desired.recall()
            logger.warning("the apiservers are away: going by the %d pods of the last run", count)
            group.create_task(self._take_listing(), name="first list")
        else:
            await self._take_listing()

    async def _take_listing(self) -> None:
        await self._informer.synced.wait()
        self.desired.finish_listing({pod.metadata.uid for pod in self._informer.items()})
        self._wake_all(self._workers)

    # -- waking

    def _wake(self, uid: str) -> None:
        if self._group is None:
            return
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = self._new_worker(uid)
            self._group.create_task(self._work(worker), name=f"pod {uid}")
        worker.wake()

    def _wake_all(self, uids: Iterable[str]) -> None:
        for uid in list(uids):
            self._wake(uid)

    def _new_worker(self, uid: str) -> PodWorker:
        return PodWorker(
            uid,
            desired=self.desired,
            runtime=self._runtime,
            statuses=self._statuses,
            recorder=self._recorder,
            clock=self._clock,
            settings=self._settings.worker,
        )

    async def _work(self, worker: PodWorker) -> None:
        await worker.run()
        del self._workers[worker.uid]

    async def _follow_runtime(self) -> NoReturn:
        """Look at a pod as soon as the runtime says that it changed."""
        async with aclosing(self._runtime.events()) as events:
            async for uid in events:
                if uid:
                    self._wake(uid)
                else:
                    self._wake_all(self._workers.keys() | self.desired.uids())
        raise AssertionError("a runtime's events do not end")

    async def _resync(self) -> NoReturn:
        """Now and then compare everything, in case something was not heard of."""
        while True:
            pause = self._settings.resync_seconds
            try:
                everything = await self._runtime.observe_all()
            except RuntimeFailureError as error:
                logger.warning("the container runtime does not answer: %s", error.message)
                pause = min(pause, self._settings.worker.retry_seconds)
            else:
                self._last_answer = self._clock.monotonic()
                self._compare(everything)
            await asyncio.sleep(pause)

    def _compare(self, everything: Mapping[str, ObservedPod]) -> None:
        for uid in self._workers.keys() | everything.keys() | self.desired.uids():
            worker, there = self._workers.get(uid), everything.get(uid)
            if worker is None or there is None or there != worker.observed:
                self._wake(uid)
        running = [pod.running for pod in everything.values() if pod.running]
        metrics.PODS.set(len(self._workers))
        metrics.RUNNING_PODS.set(len(running))
        metrics.RUNNING_CONTAINERS.set(sum(len(containers) for containers in running))

    def _is_healthy(self) -> bool:
        silence = self._clock.monotonic() - self._last_answer
        return silence < max(self._settings.unhealthy_seconds, 2 * self._settings.resync_seconds)
