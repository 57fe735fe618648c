"""One step of a Deployment: what its ReplicaSets shall become, and the commit that makes them so.

Every commit that changes ReplicaSets checks the Deployment and all of its ReplicaSets that have pods:
it goes through only if nothing it was decided on has changed. So neither a second copy of the
controller nor a cache that lags behind can exceed the surge or take away too many pods. The name of a
new ReplicaSet follows from its template: it cannot be created twice.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from h9s._pb import api_pb2, apps_pb2, core_pb2
from h9s.api import pods
from h9s.api.owners import controller_of
from h9s.client import operations
from h9s.controllers.decision import Decision, Note
from h9s.controllers.deployment import revisions, rollout, scaling
from h9s.controllers.deployment.status import is_complete, observed_status, seconds_until_deadline


@dataclass
class Plan:
    """What the ReplicaSets shall become. `replica_sets` is what was observed and never touched."""

    deployment: apps_pb2.Deployment
    replica_sets: list[apps_pb2.ReplicaSet]
    limits: rollout.Limits = field(init=False)
    #: Runs the current template; None: to be created, or (paused) not there.
    new: apps_pb2.ReplicaSet | None = field(init=False)
    #: Oldest first.
    old: list[apps_pb2.ReplicaSet] = field(init=False)
    created: apps_pb2.ReplicaSet | None = None
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = rollout.limits_of(self.deployment)
        self.new = revisions.find_new(self.deployment, self.replica_sets)
        self.old = [rs for rs in revisions.by_age(self.replica_sets) if rs is not self.new]

    def scale(self) -> None:
        """The Deployment's size has changed: keep the proportions, roll out nothing."""
        self.sizes = scaling.scaled_sizes(self.limits, self.new, self.old)

    def add(self, created: apps_pb2.ReplicaSet) -> None:
        """Nothing runs the current template yet: this will."""
        revisions.annotate_new(created, self.deployment, self.old)
        self.created = created

    def roll(self) -> None:
        """New ones up as far as the surge allows, old ones down as far as availability does."""
        new = self._running()
        self.sizes[new.metadata.uid] = rollout.target_of_new(self.limits, new, self.old)
        for rs, size in zip(self.old, rollout.targets_of_old(self.limits, new, self.old), strict=True):
            self.sizes[rs.metadata.uid] = size

    def recreate(self, running: Iterable[core_pb2.Pod]) -> None:
        """Old ones to nothing; new ones once no old pod is left, not even one that is terminating."""
        new = self._running()
        self.sizes = {rs.metadata.uid: 0 for rs in self.old}
        old_uids = set(self.sizes)
        left = any(map(rollout.pods_of, self.old)) or any(
            (owner := controller_of(pod)) is not None and owner.uid in old_uids and not pods.is_terminal(pod)
            for pod in running
        )
        self.sizes[new.metadata.uid] = new.spec.replicas if left else self.limits.desired

    def decision(self, *, now: float) -> Decision:
        """The one commit that does all of it."""
        deployment, limits = self.deployment, self.limits
        changes: list[api_pb2.Operation] = []
        notes: list[Note] = []
        for replica_set in [*self.old, *([self.new] if self.new is not None else [])]:
            changed = self._resized(replica_set)
            if changed != replica_set:
                changes.append(operations.update(changed))
            elif rollout.pods_of(replica_set):
                changes.append(operations.check(replica_set, mod_revision=_revision(replica_set)))
            notes.extend(self._scaled(replica_set, changed.spec.replicas))
        if self.created is not None:
            created = self._resized(self.created)
            revisions.annotate_size(created, desired=limits.desired, maximum=limits.maximum)
            changes.append(operations.create(created))
            notes.extend(self._scaled(self.created, created.spec.replicas))
        status = observed_status(deployment, self.new, self.old, now=now)
        if self.new is not None and is_complete(deployment, status):
            changes.extend(operations.delete(rs, mod_revision=_revision(rs)) for rs in self._expired())
        if all(change.verb == api_pb2.Operation.CHECK for change in changes):
            # A status alone is what was observed, whether or not it still holds when it is written.
            changes = []
        own = self._own_changes(status) or ([unchanged(deployment)] if changes else [])
        again_after = seconds_until_deadline(deployment, status, now)
        return Decision((*own, *changes), tuple(notes), again_after)

    def _own_changes(self, status: apps_pb2.DeploymentStatus) -> list[api_pb2.Operation]:
        """The operations on the Deployment itself: its status, and its place in the history."""
        changes = []
        changed = copy.deepcopy(self.deployment)
        newest = self.created if self.created is not None else self.new
        if newest is not None:
            revision = revisions.revision_of(self._resized(newest))
            changed.metadata.annotations[revisions.REVISION_ANNOTATION] = str(revision)
        if not self.deployment.spec.paused and changed != self.deployment:
            changes.append(operations.update(changed))
        if status != self.deployment.status:
            changed.status.CopyFrom(status)
            changes.append(operations.update_status(changed))
        return changes

    def _resized(self, replica_set: apps_pb2.ReplicaSet) -> apps_pb2.ReplicaSet:
        """The ReplicaSet as it shall be: its size, and if it runs the current template, its place in
        the history."""
        changed = copy.deepcopy(replica_set)
        changed.spec.replicas = self.sizes.get(replica_set.metadata.uid, replica_set.spec.replicas)
        if replica_set is self.new and not self.deployment.spec.paused:
            revisions.annotate_new(changed, self.deployment, self.old)
            changed.spec.min_ready_seconds = self.deployment.spec.min_ready_seconds
        if changed.spec.replicas:
            revisions.annotate_size(changed, desired=self.limits.desired, maximum=self.limits.maximum)
        return changed

    def _running(self) -> apps_pb2.ReplicaSet:
        """What runs the current template, created or to be created."""
        running = self.new if self.new is not None else self.created
        assert running is not None, "add comes first"
        return running

    def _expired(self) -> list[apps_pb2.ReplicaSet]:
        """Old ReplicaSets beyond the history limit that nothing depends on, oldest revision first."""
        if not self.deployment.spec.HasField("revision_history_limit"):
            return []
        idle = [rs for rs in self.old if _is_idle(rs)]
        surplus = len(idle) - self.deployment.spec.revision_history_limit
        return sorted(idle, key=revisions.revision_of)[: max(0, surplus)]

    def _scaled(self, before: apps_pb2.ReplicaSet, size: int) -> list[Note]:
        was = before.spec.replicas
        if was == size:
            return []
        direction = "up" if size > was else "down"
        message = f"Scaled {direction} replica set {before.metadata.name} from {was} to {size}"
        return [Note(self.deployment, "Normal", "ScalingReplicaSet", message)]


def unchanged(obj: apps_pb2.Deployment) -> api_pb2.Operation:
    """The check that nobody has changed the Deployment since it was read."""
    return operations.check(obj, mod_revision=_revision(obj))


def _is_idle(replica_set: apps_pb2.ReplicaSet) -> bool:
    return (
        not rollout.pods_of(replica_set)
        and replica_set.status.observed_generation >= replica_set.metadata.generation
    )


def _revision(obj: apps_pb2.Deployment | apps_pb2.ReplicaSet) -> int:
    return int(obj.metadata.resource_version or 0)
