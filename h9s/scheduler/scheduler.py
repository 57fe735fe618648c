"""The scheduling loop: a round whenever something waits, and its bindings side by side."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from h9s._pb import core_pb2
from h9s.client import Client, EventRecorder
from h9s.client.cache import Cache
from h9s.clock import now_timestamp
from h9s.errors import ConflictError, H9sError, NotFoundError
from h9s.placement.place import Failure
from h9s.scheduler import metrics
from h9s.scheduler.reports import bind, tell_reason, told_reason
from h9s.scheduler.state import Binding, Round, SchedulingState

logger = logging.getLogger(__name__)

COMPONENT = "howbe-scheduler"
#: How long a pod whose binding failed waits, in seconds: the news that it was decided without come
#: in the meantime.
_CONFLICT_SECONDS = 0.02
_ERROR_SECONDS = 1.0


class Scheduler:
    """One scheduler. `watch` keeps it current, in standbys too; `lead` makes it act."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._recorder = EventRecorder(client, COMPONENT)
        self._cache = Cache(client, (core_pb2.Node, core_pb2.Pod))
        self._state = SchedulingState()
        self._wakeup = asyncio.Event()
        metrics.PODS.labels("round").set_function(lambda: self._state.waiting_count)
        metrics.PODS.labels("change").set_function(lambda: self._state.unschedulable_count)
        metrics.PODS.labels("binding").set_function(lambda: self._state.binding_count)
        self._cache.of(core_pb2.Node).add_handler(self._observe_node)
        self._cache.of(core_pb2.Pod).add_handler(self._observe_pod)

    async def watch(self) -> None:
        """Keep nodes and pods current and write events, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cache.run(), name="cache")
            group.create_task(self._recorder.run(), name="events")

    async def lead(self) -> NoReturn:
        """Schedule until cancelled. `watch` must be running. May be run again."""
        # See everything that an earlier leader has bound, so as not to give its room away again.
        await self._cache.reached((await self._client.list(core_pb2.Node)).revision)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._act(self._decide(), group)
                    await self._wakeup.wait()
        finally:
            self._state.retract_all()
        raise AssertionError("scheduling does not end")

    def _observe_node(self, old: core_pb2.Node | None, new: core_pb2.Node | None) -> None:
        self._state.observe_node(old, new)
        self._wake()

    def _observe_pod(self, old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> None:
        self._state.observe_pod(old, new)
        self._wake()

    def _wake(self) -> None:
        if self._state.waiting_count:
            self._wakeup.set()

    def _decide(self) -> Round:
        self._wakeup.clear()
        with metrics.ROUND_SECONDS.time():
            return self._state.schedule()

    def _act(self, decided: Round, group: asyncio.TaskGroup) -> None:
        for binding in decided.bindings:
            group.create_task(self._bind(binding))
        for pod, failure in decided.failures:
            metrics.ATTEMPTS.labels("unschedulable").inc()
            if failure.summary() != told_reason(pod):
                group.create_task(self._report(pod, failure))

    async def _bind(self, binding: Binding) -> None:
        pod, node = binding
        name, full_name = node.metadata.name, f"{pod.metadata.namespace}/{pod.metadata.name}"
        try:
            with metrics.BINDING_SECONDS.time():
                await self._client.commit(bind(pod, node))
        except (ConflictError, NotFoundError) as error:
            logger.debug("%s was not bound to %s: %s", full_name, name, error.message)
            metrics.ATTEMPTS.labels("conflict").inc()
            await asyncio.sleep(_CONFLICT_SECONDS)
        except H9sError as error:
            logger.warning("%s could not be bound to %s: %s", full_name, name, error.message)
            metrics.ATTEMPTS.labels("error").inc()
            self._recorder.record(pod, "Warning", "FailedBinding", error.message)
            await asyncio.sleep(_ERROR_SECONDS)
        else:
            metrics.ATTEMPTS.labels("bound").inc()
            self._recorder.record(pod, "Normal", "Scheduled", f"Successfully assigned {full_name} to {name}")
            return
        self._state.retract(pod)
        self._wake()

    async def _report(self, pod: core_pb2.Pod, failure: Failure) -> None:
        """Tell why the pod waits, unless it does no longer."""
        reason = failure.summary()
        self._recorder.record(pod, "Warning", "FailedScheduling", failure.explanation())
        try:
            await self._client.commit([tell_reason(pod, reason, now_timestamp(self._client.clock))])
        except (ConflictError, NotFoundError) as error:
            logger.debug("the condition of %s was not written: %s", pod.metadata.name, error.message)
        except H9sError as error:
            logger.warning("the condition of %s could not be written: %s", pod.metadata.name, error.message)
