"""One node in memory for tests of its workers: a clock that is moved by hand, pods, a fake runtime."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from h9s._pb import core_pb2, meta_pb2
from h9s.kubelet.checkpoint import Checkpoint
from h9s.kubelet.desired_pods import DesiredPods
from h9s.kubelet.observed import ObservedContainer, ObservedPod
from h9s.kubelet.pod_worker import PodWorker, Round
from h9s.kubelet.settings import WorkerSettings
from h9s.kubelet.timestamps import timestamp
from h9s.testing.fake_runtime import FakeRuntime

EPOCH = 1_700_000_000.0


class ManualClock:
    def __init__(self) -> None:
        self.now = EPOCH

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def make_pod(
    *containers: core_pb2.Container,
    uid: str = "uid-1",
    name: str = "web",
    policy: str = "Always",
    **spec: Any,
) -> core_pb2.Pod:
    return core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default", uid=uid, resource_version="1"),
        spec=core_pb2.PodSpec(
            containers=containers or [core_pb2.Container(name="main", image="app:1")],
            restart_policy=policy,
            node_name="n1",
            **spec,
        ),
    )


class FakeReports:
    """The API's memory of statuses; `deliver` makes pods carry them."""

    def __init__(self) -> None:
        self.reported: dict[str, core_pb2.PodStatus] = {}
        self.finished: list[str] = []
        self.history: list[core_pb2.PodStatus] = []

    def latest(self, pod: core_pb2.Pod) -> core_pb2.PodStatus:
        return self.reported.get(pod.metadata.uid, pod.status)

    def report(self, pod: core_pb2.Pod, status: core_pb2.PodStatus) -> None:
        if self.latest(pod) != status:
            self.reported[pod.metadata.uid] = status
            self.history.append(status)

    def finish(self, pod: core_pb2.Pod) -> None:
        self.finished.append(pod.metadata.uid)

    def forget(self, uid: str) -> None:
        self.reported.pop(uid, None)


class FakeRecorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def record(self, obj: object, type: str, reason: str, message: str) -> None:  # noqa: A002
        self.events.append((type, reason, message))

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


class World:
    """A node with one pod on it."""

    def __init__(self, pod: core_pb2.Pod | None = None) -> None:
        self.clock = ManualClock()
        self.runtime = FakeRuntime(clock=self.clock)
        self.reports = FakeReports()
        self.recorder = FakeRecorder()
        self._folder = tempfile.TemporaryDirectory(prefix="h9s-test-")
        self.desired = DesiredPods(Checkpoint(Path(self._folder.name) / "pods"), on_change=lambda uid: None)
        self.desired.complete = True
        self.uid = "uid-1"
        if pod is not None:
            self.uid = pod.metadata.uid
            self.desired.take(None, pod)
        self._loop = asyncio.new_event_loop()
        self.worker = self.new_worker()

    def close(self) -> None:
        self._loop.close()
        self._folder.cleanup()

    def reconcile(self) -> Round:
        """One round of the worker."""
        return self._loop.run_until_complete(self.worker.reconcile())

    def new_worker(self) -> PodWorker:
        """As after a restart of the howbelet: nothing remembered but what the API has."""
        return PodWorker(
            self.uid,
            desired=self.desired,
            runtime=self.runtime,
            statuses=self.reports,
            recorder=self.recorder,
            clock=self.clock,
            settings=WorkerSettings(host_ip="192.0.2.1"),
        )

    @property
    def pod(self) -> core_pb2.Pod:
        pod = self.desired.get(self.uid)
        assert pod is not None
        return pod

    @property
    def there(self) -> ObservedPod:
        return self.runtime.everything(self.uid)

    @property
    def status(self) -> core_pb2.PodStatus:
        return self.reports.reported[self.uid]

    def container(self, name: str = "main") -> core_pb2.ContainerStatus:
        return next(one for one in self.status.container_statuses if one.name == name)

    def run_of(self, name: str = "main") -> ObservedContainer:
        found = self.there.newest(name)
        assert found is not None
        return found

    def deliver(self) -> None:
        """The API has taken the status, and the informer has seen it."""
        self.change(lambda pod: None)

    def change(self, edit: Any) -> None:
        """Somebody changes the pod in the API."""
        changed = core_pb2.Pod()
        changed.CopyFrom(self.pod)
        if self.uid in self.reports.reported:
            changed.status.CopyFrom(self.reports.reported[self.uid])
        edit(changed)
        self.desired.take(self.pod, changed)

    def delete(self, grace: int = 30) -> None:
        """Somebody asks for the pod's deletion."""

        def edit(pod: core_pb2.Pod) -> None:
            pod.metadata.deletion_timestamp.CopyFrom(timestamp(self.clock.now + grace))
            pod.metadata.deletion_grace_period_seconds = grace

        self.change(edit)

    def forget(self) -> None:
        """The API has forgotten the pod."""
        self.desired.take(self.pod, None)

    def settle(self, *, rounds: int = 50) -> Round:
        """Let the worker act until it waits."""
        for _ in range(rounds):
            result = self.reconcile()
            if not result.acted:
                return result
        raise AssertionError(f"it does not come to rest: {self.runtime.operations[-20:]}")

    def settle_for(self, seconds: float, *, limit: int = 500) -> Round:
        """Let that much time pass, the worker waking whenever it asked to."""
        end = self.clock.now + seconds
        for _ in range(limit):
            result = self.settle()
            if result.finished or result.wake_in is None or self.clock.now + result.wake_in > end:
                self.clock.now = end
                return self.settle()
            self.clock.now += max(result.wake_in, 0.001)
        raise AssertionError(f"it never waits: {self.runtime.operations[-20:]}")
