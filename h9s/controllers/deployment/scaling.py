"""Scaling a Deployment whose ReplicaSets are in the middle of something: in proportion.

A change of size is not a rollout: it keeps the shares of the ReplicaSets as they are, so that a
half-finished (or paused, or broken) rollout grows and shrinks evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from h9s._pb import apps_pb2
from h9s.controllers.deployment import revisions
from h9s.controllers.deployment.rollout import Limits


def is_scaling(limits: Limits, replica_sets: Sequence[apps_pb2.ReplicaSet]) -> bool:
    """Whether a ReplicaSet with replicas was sized for another size of the Deployment."""
    return any(
        rs.spec.replicas
        and (annotated := revisions.desired_annotated(rs)) is not None
        and annotated != limits.desired
        for rs in replica_sets
    )


def scaled_sizes(
    limits: Limits, new: apps_pb2.ReplicaSet | None, old: Sequence[apps_pb2.ReplicaSet]
) -> dict[str, int]:
    """The size of each ReplicaSet that has or gets replicas, by uid. `old`: oldest first."""
    everything = [*old, new] if new is not None else list(old)
    active = [rs for rs in everything if rs.spec.replicas]
    if len(active) <= 1:
        only = active or everything[-1:]
        return {rs.metadata.uid: limits.desired for rs in only}
    if new is not None and _is_saturated(new, limits):
        return {rs.metadata.uid: limits.desired if rs is new else 0 for rs in active}
    return _in_proportion(limits, active)


def _is_saturated(new: apps_pb2.ReplicaSet, limits: Limits) -> bool:
    """The rollout is over but for the old ReplicaSets' last pods."""
    return (
        new.spec.replicas == limits.desired
        and revisions.desired_annotated(new) == limits.desired
        and new.status.available_replicas == limits.desired
    )


def _in_proportion(limits: Limits, active: list[apps_pb2.ReplicaSet]) -> dict[str, int]:
    """Spread what is to be added or taken away; what rounding leaves goes to the largest."""
    allowed = limits.maximum if limits.desired else 0
    change = allowed - sum(rs.spec.replicas for rs in active)
    newer_first = list(reversed(active))
    ordered = sorted(newer_first if change > 0 else active, key=lambda rs: -rs.spec.replicas)
    sizes: dict[str, int] = {}
    spread = 0
    for replica_set in ordered:
        share = _share(replica_set, limits, change - spread)
        sizes[replica_set.metadata.uid] = replica_set.spec.replicas + share
        spread += share
    largest = ordered[0].metadata.uid
    sizes[largest] = max(0, sizes[largest] + change - spread)
    return sizes


def _share(replica_set: apps_pb2.ReplicaSet, limits: Limits, left: int) -> int:
    """What one ReplicaSet gets of the change, of which `left` has not been given out yet."""
    current = replica_set.spec.replicas
    if not limits.desired:
        return -current
    before = revisions.maximum_annotated(replica_set) or limits.maximum
    fraction = round(Fraction(current * limits.maximum, before)) - current
    return min(max(fraction, 0), left) if left > 0 else max(min(fraction, 0), left)
