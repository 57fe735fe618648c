"""What to do about a Deployment, from a snapshot of it and of the ReplicaSets around it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from h9s._pb import apps_pb2, core_pb2
from h9s.api.labels import Selector
from h9s.client import operations
from h9s.controllers.claim import claim, operations_of
from h9s.controllers.decision import NOTHING_TO_DO, Decision
from h9s.controllers.deployment import revisions, rollout, scaling
from h9s.controllers.deployment.plan import Plan, unchanged


@dataclass(frozen=True)
class DeploymentSnapshot:
    """A Deployment; the ReplicaSets that it controls, that nobody controls, or whose name is the one
    that it would give its next; the pods that they control (needed only for the strategy Recreate); all
    at one revision of the store. `now`: seconds since 1970."""

    deployment: apps_pb2.Deployment
    replica_sets: tuple[apps_pb2.ReplicaSet, ...]
    pods: tuple[core_pb2.Pod, ...]
    now: float


def decide(snapshot: DeploymentSnapshot) -> Decision:
    """One commit: adopt and release; or scale, roll out and clean up as far as possible now, with the
    status that was observed before."""
    deployment = snapshot.deployment
    if deployment.metadata.HasField("deletion_timestamp"):
        return NOTHING_TO_DO
    selector = Selector.from_label_selector(deployment.spec.selector)
    claimed = claim(deployment, selector, snapshot.replica_sets)
    if claimed.adopt or claimed.release:
        return Decision((unchanged(deployment), *operations_of(deployment, claimed)))
    plan = Plan(deployment, list(claimed.held))
    if deployment.spec.paused or scaling.is_scaling(plan.limits, claimed.held):
        plan.scale()
        return plan.decision(now=snapshot.now)
    if plan.new is None:
        created = revisions.new_replica_set(deployment)
        if any(rs.metadata.name == created.metadata.name for rs in snapshot.replica_sets):
            return _next_name(deployment)
        plan.add(created)
    if rollout.is_recreated(deployment):
        plan.recreate(snapshot.pods)
    else:
        plan.roll()
    return plan.decision(now=snapshot.now)


def _next_name(deployment: apps_pb2.Deployment) -> Decision:
    """The name for the new ReplicaSet is another's: count that, which leads to another name."""
    changed = copy.deepcopy(deployment)
    changed.status.collision_count += 1
    return Decision((operations.update_status(changed),))
