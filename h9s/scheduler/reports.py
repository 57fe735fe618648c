"""Why a pod waits, told where users look: a FailedScheduling event and the condition PodScheduled.

Each reason (the count of nodes per reason) is told once per pod, not at every attempt; the event also
has the numbers of that moment. Until a pod has a node its status belongs to
the scheduler, which writes this one condition.
"""

from __future__ import annotations

import copy

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.api import conditions
from h9s.client import operations

POD_SCHEDULED = "PodScheduled"
UNSCHEDULABLE = "Unschedulable"


def told_reason(pod: core_pb2.Pod) -> str:
    """The reason that the pod's status already gives; "" if none."""
    condition = conditions.get(pod.status.conditions, POD_SCHEDULED)
    return condition.message if condition is not None and condition.status == "False" else ""


def tell_reason(pod: core_pb2.Pod, reason: str, now: Timestamp) -> api_pb2.Operation:
    """The status update that says so; fails if the pod has changed."""
    changed = copy.deepcopy(pod)
    condition = meta_pb2.Condition(type=POD_SCHEDULED, status="False", reason=UNSCHEDULABLE, message=reason)
    conditions.set_condition(changed.status.conditions, condition, now)
    return operations.update_status(changed)


def bind(pod: core_pb2.Pod, node: core_pb2.Node) -> tuple[api_pb2.Operation, ...]:
    """The commit that assigns the pod; fails if the pod or the node has changed."""
    changed = copy.deepcopy(pod)
    changed.spec.node_name = node.metadata.name
    guard = operations.check(node, mod_revision=int(node.metadata.resource_version))
    return (guard, operations.update(changed))
