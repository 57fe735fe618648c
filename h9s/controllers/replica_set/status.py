"""What a ReplicaSet reports of its pods."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from h9s._pb import apps_pb2, core_pb2
from h9s.api import conditions, pods


def observed_status(
    replica_set: apps_pb2.ReplicaSet, active: Sequence[core_pb2.Pod], *, creating: int = 0, now: float
) -> apps_pb2.ReplicaSetStatus:
    """The status with these active pods, and `creating` more that are created along with it."""
    template_labels = dict(replica_set.spec.template.metadata.labels)
    min_ready_seconds = replica_set.spec.min_ready_seconds
    status = copy.deepcopy(replica_set.status)
    status.replicas = len(active) + creating
    status.fully_labeled_replicas = creating + sum(
        template_labels.items() <= dict(pod.metadata.labels).items() for pod in active
    )
    status.ready_replicas = sum(map(pods.is_ready, active))
    status.available_replicas = sum(pods.is_available(pod, min_ready_seconds, now) for pod in active)
    status.observed_generation = replica_set.metadata.generation
    return status


def seconds_until_next_available(
    active: Sequence[core_pb2.Pod], min_ready_seconds: int, now: float
) -> float | None:
    """When the next pod that is ready but not yet available becomes so; None if there is none."""
    if not min_ready_seconds:
        return None
    waits = []
    for pod in active:
        ready = conditions.get(pod.status.conditions, "Ready")
        if ready and ready.status == "True" and not pods.is_available(pod, min_ready_seconds, now):
            since = ready.last_transition_time
            waits.append(since.seconds + since.nanos / 1e9 + min_ready_seconds - now)
    return min(waits, default=None)
