"""What a howbelet's parts are told: plain values, and where events go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from h9s._pb import core_pb2
from h9s.kubelet.backoff import BackoffPolicy


class Recorder(Protocol):
    """Where events go; see `h9s.client.events.EventRecorder`."""

    def record(
        self,
        obj: core_pb2.Pod,
        type: Literal["Normal", "Warning"],  # noqa: A002
        reason: str,
        message: str,
    ) -> None:
        """Something happened to the pod."""
        ...


class Reports(Protocol):
    """Where workers tell what became of their pods; see `StatusManager`."""

    def latest(self, pod: core_pb2.Pod) -> core_pb2.PodStatus:
        """The newest status that is known of a pod."""
        ...

    def report(self, pod: core_pb2.Pod, status: core_pb2.PodStatus) -> None:
        """Have the API know `status`, unless it does already."""
        ...

    def finish(self, pod: core_pb2.Pod) -> None:
        """Nothing is left of this pod, whose deletion was asked for."""
        ...

    def forget(self, uid: str) -> None:
        """The API does not have this pod any more."""
        ...


def _mishap_policy() -> BackoffPolicy:
    return BackoffPolicy(initial=1.0, maximum=60.0)


@dataclass(frozen=True)
class WorkerSettings:
    """`restart` and `pull`: how long failures wait (crashes; images). `mishap`: the same for steps of
    the runtime that should not fail. `retry_seconds`: how soon to look again when the runtime is away."""

    host_ip: str
    restart: BackoffPolicy = field(default_factory=BackoffPolicy)
    pull: BackoffPolicy = field(default_factory=BackoffPolicy)
    mishap: BackoffPolicy = field(default_factory=_mishap_policy)
    retry_seconds: float = 1.0


@dataclass(frozen=True)
class HowbeletSettings:
    """Of one howbelet. `address` and `port`: where its own server listens, and what it tells others.

    `resync_seconds`: how often everything is looked at although nothing was heard. `away_seconds`: how
    long to wait for the apiservers at the start before going by what was known last time.
    `unhealthy_seconds`: for how long the runtime may not answer before the node stops its heartbeats,
    so that its pods are replaced elsewhere.
    """

    node_name: str
    address: str
    port: int
    worker: WorkerSettings
    resync_seconds: float = 10.0
    away_seconds: float = 5.0
    unhealthy_seconds: float = 20.0
    node_refresh_seconds: float = 60.0
