"""How far a Deployment's ReplicaSets may be scaled at this moment.

All numbers are of pods. Nothing here knows about objects' identity, guards or status; the invariants
of a rolling update are: never more pods than desired + max_surge, and no scaling down that leaves
fewer available ones than desired - max_unavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from h9s._pb import apps_pb2
from h9s.api.int_or_string import resolve


class Limits(NamedTuple):
    """How far a rolling update may stray from the desired number of replicas."""

    desired: int
    max_surge: int
    max_unavailable: int

    @property
    def maximum(self) -> int:
        """Most pods at any time."""
        return self.desired + self.max_surge

    @property
    def min_available(self) -> int:
        """Fewest available pods."""
        return self.desired - self.max_unavailable


def limits_of(deployment: apps_pb2.Deployment) -> Limits:
    """Percentages resolved: surge rounds up, unavailability down; where both come out as 0, nothing
    could move, and one pod may be unavailable. Without a rolling update there is neither."""
    desired = deployment.spec.replicas
    if is_recreated(deployment):
        return Limits(desired, 0, 0)
    rolling = deployment.spec.strategy.rolling_update
    surge = resolve(rolling.max_surge, desired, round_up=True)
    unavailable = resolve(rolling.max_unavailable, desired, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(desired, surge, min(unavailable, desired))


def is_recreated(deployment: apps_pb2.Deployment) -> bool:
    """Whether all old pods have to be gone before there are new ones."""
    return deployment.spec.strategy.type == "Recreate"


def pods_of(replica_set: apps_pb2.ReplicaSet) -> int:
    """How many pods it has or is about to have: counts those not deleted yet, unlike its spec."""
    return max(replica_set.spec.replicas, replica_set.status.replicas)


def available_of(replica_set: apps_pb2.ReplicaSet) -> int:
    """How many available pods it will still have once it is as small as was asked."""
    return min(replica_set.spec.replicas, replica_set.status.available_replicas)


def target_of_new(limits: Limits, new: apps_pb2.ReplicaSet, old: Sequence[apps_pb2.ReplicaSet]) -> int:
    """How many replicas the new ReplicaSet should have now: as many of the desired as surge allows."""
    current = new.spec.replicas
    if current >= limits.desired:
        return limits.desired
    room = limits.maximum - pods_of(new) - sum(map(pods_of, old))
    return current + max(0, min(room, limits.desired - current))


def targets_of_old(limits: Limits, new: apps_pb2.ReplicaSet, old: Sequence[apps_pb2.ReplicaSet]) -> list[int]:
    """How many replicas each old ReplicaSet (oldest first) should have now.

    What is not available anyway goes first, then the oldest, as long as enough stay available. How
    many may go is reckoned as if all the old ones that were asked for were available: those that are
    not use that up before any available one does.
    """
    targets = [rs.spec.replicas for rs in old]
    budget = available_of(new) + sum(targets) - limits.min_available
    for expendable in (lambda index: targets[index] - available_of(old[index]), targets.__getitem__):
        for index in range(len(old)):
            surplus = min(budget, expendable(index))
            if surplus > 0:
                targets[index] -= surplus
                budget -= surplus
    return targets
