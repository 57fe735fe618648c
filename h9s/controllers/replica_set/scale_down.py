"""Which pods a ReplicaSet gives up first: those that are worth least.

Kubernetes' order: not assigned to a node, then pending, then not ready, then of lower deletion cost,
then on the node with most of the replicas, then ready for the shorter time, restarted more often,
newer. Crowding is counted anew after each choice, so that scaling down leaves the replicas spread.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import core_pb2
from h9s.api import conditions, pods

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_ORDER = {pods.PENDING: 0, "": 0, pods.UNKNOWN: 1, pods.RUNNING: 2}


def first_to_go(active: Sequence[core_pb2.Pod], count: int) -> list[core_pb2.Pod]:
    """The `count` pods to delete (all, if there are not more). Depends on nothing but the pods."""
    crowding = Counter(pod.spec.node_name for pod in active if pod.spec.node_name)
    chosen: list[core_pb2.Pod] = []
    for _, alike in groupby(sorted(active, key=_worth), key=_worth):
        by_node: dict[str, list[core_pb2.Pod]] = defaultdict(list)
        for pod in sorted(alike, key=_age, reverse=True):
            by_node[pod.spec.node_name].append(pod)
        while by_node and len(chosen) < count:
            node = min(by_node, key=lambda name: (-crowding[name], _age(by_node[name][-1])))
            chosen.append(by_node[node].pop())
            crowding[node] -= 1
            if not by_node[node]:
                del by_node[node]
    return chosen


def _worth(pod: core_pb2.Pod) -> tuple[bool, int, bool, int]:
    """Lower goes first."""
    return (
        bool(pod.spec.node_name),
        _PHASE_ORDER.get(pod.status.phase, 2),
        pods.is_ready(pod),
        _deletion_cost(pod),
    )


def _age(pod: core_pb2.Pod) -> tuple[float, int, float, str]:
    """Among pods of equal worth on equally crowded nodes, lower goes first."""
    ready = conditions.get(pod.status.conditions, "Ready")
    ready_since = _seconds(ready.last_transition_time) if ready and ready.status == "True" else 0.0
    restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
    return (-ready_since, -restarts, -_seconds(pod.metadata.creation_timestamp), pod.metadata.name)


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.seconds + timestamp.nanos / 1e9


def _deletion_cost(pod: core_pb2.Pod) -> int:
    """What the user said the pod is worth; 0 where it is not a number."""
    try:
        return int(pod.metadata.annotations.get(DELETION_COST_ANNOTATION) or "0")
    except ValueError:
        return 0
