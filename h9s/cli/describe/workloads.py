"""Describes what keeps pods running: Deployments and ReplicaSets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from h9s._pb import apps_pb2, core_pb2, meta_pb2
from h9s.cli.columns import selector_text
from h9s.cli.describe.common import (
    Related,
    moment,
    put_conditions,
    put_events,
    put_identity,
    put_labels,
    put_owner,
    put_template,
)
from h9s.cli.describe.sheet import Sheet
from h9s.cli.rollouts import newest_replica_set


def describe_deployment(deployment: apps_pb2.Deployment, related: Related, now: float) -> Sheet:
    """The whole Deployment, with its ReplicaSets."""
    spec, status = deployment.spec, deployment.status
    sheet = Sheet()
    put_identity(sheet, deployment)
    sheet.put("Created", moment(deployment.metadata.creation_timestamp))
    put_labels(sheet, deployment)
    sheet.put("Selector", selector_text(spec.selector))
    sheet.put(
        "Replicas",
        f"{spec.replicas} desired | {status.updated_replicas} updated | {status.replicas} total"
        f" | {status.available_replicas} available | {status.unavailable_replicas} unavailable",
    )
    if spec.paused:
        sheet.put("Paused", "true")
    sheet.put("Strategy", _strategy(spec.strategy))
    sheet.put("Min Ready Seconds", spec.min_ready_seconds)
    put_template(sheet, spec.template)
    put_conditions(sheet, status.conditions, now)
    newest = newest_replica_set(deployment, related.replica_sets)
    old = [each for each in related.replica_sets if each is not newest and each.spec.replicas]
    sheet.put("Old ReplicaSets", ", ".join(map(_created, old)) or "<none>")
    sheet.put("New ReplicaSet", _created(newest) if newest is not None else "<none>")
    put_events(sheet, related.events, now)
    return sheet


def _strategy(strategy: apps_pb2.DeploymentStrategy) -> str:
    if not strategy.HasField("rolling_update"):
        return strategy.type
    rolling = strategy.rolling_update
    surge, unavailable = _int_or_string(rolling.max_surge), _int_or_string(rolling.max_unavailable)
    return f"{strategy.type}, {unavailable} max unavailable, {surge} max surge"


def _int_or_string(value: meta_pb2.IntOrString) -> str:
    return value.string_value if value.HasField("string_value") else str(value.int_value)


def _created(replica_set: apps_pb2.ReplicaSet) -> str:
    created = f"{replica_set.status.replicas}/{replica_set.spec.replicas} replicas created"
    return f"{replica_set.metadata.name} ({created})"


def describe_replica_set(replica_set: apps_pb2.ReplicaSet, related: Related, now: float) -> Sheet:
    """The whole ReplicaSet, with how its pods are."""
    sheet = Sheet()
    put_identity(sheet, replica_set)
    sheet.put("Created", moment(replica_set.metadata.creation_timestamp))
    put_labels(sheet, replica_set)
    put_owner(sheet, replica_set)
    sheet.put("Selector", selector_text(replica_set.spec.selector))
    sheet.put("Replicas", f"{replica_set.status.replicas} current / {replica_set.spec.replicas} desired")
    sheet.put("Pods", _phases(related.pods))
    put_template(sheet, replica_set.spec.template)
    put_conditions(sheet, replica_set.status.conditions, now)
    put_events(sheet, related.events, now)
    return sheet


def _phases(pods: Sequence[core_pb2.Pod]) -> str:
    phases = Counter(pod.status.phase or "Pending" for pod in pods)
    words = {"Running": "Running", "Pending": "Waiting", "Succeeded": "Succeeded", "Failed": "Failed"}
    return " / ".join(f"{phases[phase]} {word}" for phase, word in words.items())
