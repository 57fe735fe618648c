"""What a Deployment reports: counts, and the conditions Available and Progressing.

Types, reasons and messages are Kubernetes', because tools wait for them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import apps_pb2, meta_pb2
from h9s.api import conditions
from h9s.controllers.deployment.revisions import revision_of
from h9s.controllers.deployment.rollout import limits_of

AVAILABLE, PROGRESSING = "Available", "Progressing"
NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable"
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
#: This many seconds stand for no deadline.
NO_DEADLINE = 2**31 - 1


def observed_status(
    deployment: apps_pb2.Deployment,
    new: apps_pb2.ReplicaSet | None,
    old: Sequence[apps_pb2.ReplicaSet],
    *,
    now: float,
) -> apps_pb2.DeploymentStatus:
    """The status that follows from the ReplicaSets; `new` runs the current template, if there is one.
    `now`: seconds since 1970."""
    everything = [*old, new] if new is not None else list(old)
    status = copy.deepcopy(deployment.status)
    status.observed_generation = deployment.metadata.generation
    status.replicas = sum(rs.status.replicas for rs in everything)
    status.updated_replicas = new.status.replicas if new is not None else 0
    status.ready_replicas = sum(rs.status.ready_replicas for rs in everything)
    status.available_replicas = sum(rs.status.available_replicas for rs in everything)
    asked_for = sum(rs.spec.replicas for rs in everything)
    status.unavailable_replicas = max(0, asked_for - status.available_replicas)
    moment = Timestamp(seconds=int(now))
    _put(status, _available(deployment, status), moment)
    if _deadline_seconds(deployment) is None:
        conditions.remove(status.conditions, PROGRESSING)
    else:
        is_reused = new is not None and revision_of(new) < max(map(revision_of, old), default=0)
        progressing = _progressing(deployment, status, new, now, is_reused=is_reused)
        if progressing is not None:
            _put(status, progressing, moment)
    return status


def is_complete(deployment: apps_pb2.Deployment, status: apps_pb2.DeploymentStatus) -> bool:
    """Whether all pods are of the current template and available, and no others are left."""
    return (
        status.updated_replicas == status.replicas == status.available_replicas == deployment.spec.replicas
        and status.observed_generation >= deployment.metadata.generation
    )


def seconds_until_deadline(
    deployment: apps_pb2.Deployment, status: apps_pb2.DeploymentStatus, now: float
) -> float | None:
    """When a rollout that makes no more progress will have failed; None if there is none to watch."""
    deadline = _deadline_seconds(deployment)
    progressing = conditions.get(status.conditions, PROGRESSING)
    if deadline is None or progressing is None or deployment.spec.paused:
        return None
    if progressing.reason in (NEW_REPLICA_SET_AVAILABLE, PROGRESS_DEADLINE_EXCEEDED):
        return None
    # One second more: the condition's time is in whole seconds.
    return max(0.0, progressing.last_update_time.seconds + deadline - now) + 1


def _available(deployment: apps_pb2.Deployment, status: apps_pb2.DeploymentStatus) -> meta_pb2.Condition:
    if status.available_replicas >= limits_of(deployment).min_available:
        return meta_pb2.Condition(
            type=AVAILABLE,
            status="True",
            reason="MinimumReplicasAvailable",
            message="Deployment has minimum availability.",
        )
    return meta_pb2.Condition(
        type=AVAILABLE,
        status="False",
        reason="MinimumReplicasUnavailable",
        message="Deployment does not have minimum availability.",
    )


def _progressing(
    deployment: apps_pb2.Deployment,
    status: apps_pb2.DeploymentStatus,
    new: apps_pb2.ReplicaSet | None,
    now: float,
    *,
    is_reused: bool,
) -> meta_pb2.Condition | None:
    """The condition as it has to become; None: it stays as it is."""
    current = conditions.get(status.conditions, PROGRESSING)
    reason = current.reason if current is not None else ""
    if deployment.spec.paused:
        if reason == PROGRESS_DEADLINE_EXCEEDED:
            return None
        return _condition("Unknown", PAUSED, "Deployment is paused")
    if reason == PAUSED:
        return _condition("Unknown", RESUMED, "Deployment is resumed")
    if new is None:
        return None
    name = f'"{new.metadata.name}"'
    if is_complete(deployment, status):
        return _condition(
            "True", NEW_REPLICA_SET_AVAILABLE, f"ReplicaSet {name} has successfully progressed."
        )
    if current is None or (name not in current.message and reason != RESUMED):
        if is_reused:
            return _condition("True", "FoundNewReplicaSet", f"Found new replica set {name}")
        return _condition("True", "NewReplicaSetCreated", f"Created new replica set {name}")
    if reason == NEW_REPLICA_SET_AVAILABLE and status.replicas == status.updated_replicas:
        # The rollout is over; scaling or a pod that died later is not one.
        return None
    if _has_progressed(deployment.status, status):
        return _condition("True", "ReplicaSetUpdated", f"ReplicaSet {name} is progressing.")
    if _has_timed_out(deployment, current, now):
        return _condition(
            "False", PROGRESS_DEADLINE_EXCEEDED, f"ReplicaSet {name} has timed out progressing."
        )
    return None


def _has_progressed(before: apps_pb2.DeploymentStatus, after: apps_pb2.DeploymentStatus) -> bool:
    return (
        after.updated_replicas > before.updated_replicas
        or after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def _has_timed_out(deployment: apps_pb2.Deployment, current: meta_pb2.Condition, now: float) -> bool:
    deadline = _deadline_seconds(deployment)
    if deadline is None or current.reason == NEW_REPLICA_SET_AVAILABLE:
        return False
    return current.reason == PROGRESS_DEADLINE_EXCEEDED or current.last_update_time.seconds + deadline < now


def _deadline_seconds(deployment: apps_pb2.Deployment) -> int | None:
    seconds = deployment.spec.progress_deadline_seconds
    given = deployment.spec.HasField("progress_deadline_seconds")
    return seconds if given and seconds != NO_DEADLINE else None


def _condition(status: str, reason: str, message: str) -> meta_pb2.Condition:
    return meta_pb2.Condition(type=PROGRESSING, status=status, reason=reason, message=message)


def _put(status: apps_pb2.DeploymentStatus, condition: meta_pb2.Condition, now: Timestamp) -> None:
    """Every progress renews the time from which the deadline counts; nothing else does."""
    current = conditions.get(status.conditions, condition.type)
    if condition.reason == "ReplicaSetUpdated" or not _same(current, condition):
        condition.last_update_time.CopyFrom(now)
        if current is not None and current.status == condition.status:
            condition.last_transition_time.CopyFrom(current.last_transition_time)
        else:
            condition.last_transition_time.CopyFrom(now)
        (status.conditions.add() if current is None else current).CopyFrom(condition)


def _same(current: meta_pb2.Condition | None, condition: meta_pb2.Condition) -> bool:
    return current is not None and (current.status, current.reason, current.message) == (
        condition.status,
        condition.reason,
        condition.message,
    )
