"""Tells the API what became of the pods: at once, newest state only, for as long as it takes.

While the control plane is away the newest status of each pod is kept and sent when it is back. One
write per pod at a time. What the workers decide is none of this module's business.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import NoReturn

from h9s._pb import core_pb2, meta_pb2
from h9s.api.objects import from_object
from h9s.client import operations
from h9s.client.client import Client
from h9s.client.retry import DEFAULT_POLICY, Backoff, RetryPolicy, is_retriable
from h9s.errors import ConflictError, H9sError, NotFoundError
from h9s.kubelet import metrics
from h9s.kubelet.observed import PodIdentity

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Report:
    """A pod's status; without one, that nothing is left of a pod that is being deleted."""

    pod: PodIdentity
    status: core_pb2.PodStatus | None


@dataclass(frozen=True)
class _Acknowledged:
    revision: int
    status: core_pb2.PodStatus


class StatusManager:
    """`run` does the sending; `report` and `finish` return at once."""

    def __init__(self, client: Client, *, retry: RetryPolicy = DEFAULT_POLICY) -> None:
        self._client = client
        self._retry = retry
        self._waiting: dict[str, _Report] = {}
        self._sending: dict[str, _Report] = {}
        self._acknowledged: dict[str, _Acknowledged] = {}
        self._wakeup = asyncio.Event()

    def latest(self, pod: core_pb2.Pod) -> core_pb2.PodStatus:
        """The newest status that is known of a pod: what is under way, else what the API has."""
        uid = pod.metadata.uid
        for reports in (self._waiting, self._sending):
            report = reports.get(uid)
            if report is not None and report.status is not None:
                return report.status
        acknowledged = self._acknowledged.get(uid)
        if acknowledged is not None and acknowledged.revision > int(pod.metadata.resource_version or 0):
            return acknowledged.status
        return pod.status

    def report(self, pod: core_pb2.Pod, status: core_pb2.PodStatus) -> None:
        """Have the API know `status`, unless it does already."""
        if self.latest(pod) != status:
            self._put(_Report(_identity(pod.metadata), status))

    def finish(self, pod: core_pb2.Pod) -> None:
        """Nothing is left of this pod, whose deletion was asked for: have the API forget it."""
        self._put(_Report(_identity(pod.metadata), None))

    def forget(self, uid: str) -> None:
        """The API does not have this pod any more."""
        self._waiting.pop(uid, None)
        self._acknowledged.pop(uid, None)

    async def run(self) -> NoReturn:
        """Send what is reported until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wakeup.wait()
                self._wakeup.clear()
                for uid in self._waiting.keys() - self._sending.keys():
                    self._sending[uid] = self._waiting.pop(uid)
                    group.create_task(self._send(uid))
                self._count()
        raise AssertionError("sending does not end")

    def _put(self, report: _Report) -> None:
        if self._waiting.get(report.pod.uid) != report and self._sending.get(report.pod.uid) != report:
            self._waiting[report.pod.uid] = report
            self._wakeup.set()
            self._count()

    async def _send(self, uid: str) -> None:
        backoff = Backoff(self._retry, self._client.rng)
        report = self._sending[uid]
        try:
            while True:
                try:
                    await self._deliver(report)
                    return
                except H9sError as error:
                    if not is_retriable(error):
                        self._give_up(report, error)
                        return
                    logger.warning("the status of pod %s has to wait: %s", report.pod, error.message)
                await asyncio.sleep(backoff.next())
                # What was reported meanwhile is newer.
                report = self._sending[uid] = self._waiting.pop(uid, report)
        finally:
            del self._sending[uid]
            self._wakeup.set()
            self._count()

    async def _deliver(self, report: _Report) -> None:
        uid, namespace, name = report.pod
        if report.status is None:
            operation = operations.delete(core_pb2.Pod, name, namespace, uid=uid, grace_period_seconds=0)
            await self._client.commit([operation])
            self._acknowledged.pop(uid, None)
            return
        metadata = meta_pb2.ObjectMeta(name=name, namespace=namespace, uid=uid)
        pod = core_pb2.Pod(metadata=metadata, status=report.status)
        response = await self._client.commit([operations.update_status(pod, uid=uid)])
        stored = response.objects[0]
        if stored.HasField("value"):
            written = from_object(stored)
            assert isinstance(written, core_pb2.Pod)
            self._acknowledged[uid] = _Acknowledged(stored.mod_revision, written.status)

    def _give_up(self, report: _Report, error: H9sError) -> None:
        """The API will never take it. Gone, or replaced by another pod of its name: nobody asks."""
        if isinstance(error, NotFoundError | ConflictError):
            logger.info("pod %s is no longer there to report on", report.pod)
        else:
            logger.error("the API refuses the status of pod %s: %s", report.pod, error.message)

    def _count(self) -> None:
        metrics.STATUS_QUEUE_LENGTH.set(len(self._waiting.keys() | self._sending.keys()))


def _identity(metadata: meta_pb2.ObjectMeta) -> PodIdentity:
    return PodIdentity(metadata.uid, metadata.namespace, metadata.name)
