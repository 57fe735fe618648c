"""What wakes the Deployment controller, and where its snapshots come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from h9s._pb import apps_pb2, core_pb2
from h9s.api import pods
from h9s.api.kinds import ApiObject
from h9s.api.labels import Selector
from h9s.api.owners import controller_of
from h9s.client.cache import Key, key_of
from h9s.clock import Clock
from h9s.controllers.cluster import Cluster, orphanage
from h9s.controllers.controller import Controller, Wake, either
from h9s.controllers.decision import NOTHING_TO_DO, Decision
from h9s.controllers.deployment import revisions
from h9s.controllers.deployment.decide import DeploymentSnapshot, decide
from h9s.controllers.deployment.rollout import is_recreated


class DeploymentController(Controller[Key]):
    """Keys are those of Deployments."""

    name: ClassVar[str] = "deployment"

    def __init__(self, cluster: Cluster, *, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    def wakes(self) -> Sequence[Wake[Key]]:
        """See `Controller.wakes`."""
        return (
            Wake(self._cluster.deployments, either(lambda deployment: (key_of(deployment),))),
            Wake(self._cluster.replica_sets, either(self._keys_of_replica_set)),
            Wake(self._cluster.pods, self._keys_of_ended_pod),
        )

    async def decide(self, key: Key) -> Decision:
        """See `Controller.decide`."""
        deployment = self._cluster.deployments.get(*key)
        if deployment is None or not self._cluster.is_open(deployment.metadata.namespace):
            return NOTHING_TO_DO
        replica_sets = self._candidates(deployment)
        return decide(
            DeploymentSnapshot(
                deployment=deployment,
                replica_sets=replica_sets,
                pods=self._pods(replica_sets) if is_recreated(deployment) else (),
                now=self._clock.wall(),
            )
        )

    def about(self, key: Key) -> ApiObject | None:
        """See `Controller.about`."""
        return self._cluster.deployments.get(*key)

    def _candidates(self, deployment: apps_pb2.Deployment) -> tuple[apps_pb2.ReplicaSet, ...]:
        index, namespace = self._cluster.replica_sets_by_controller, deployment.metadata.namespace
        found = [*index.get(deployment.metadata.uid), *index.get(orphanage(namespace))]
        next_name = revisions.new_replica_set(deployment).metadata.name
        taken = self._cluster.replica_sets.get(namespace, next_name)
        if taken is not None and all(rs.metadata.name != next_name for rs in found):
            found.append(taken)
        return tuple(found)

    def _pods(self, replica_sets: Iterable[apps_pb2.ReplicaSet]) -> tuple[core_pb2.Pod, ...]:
        index = self._cluster.pods_by_controller
        return tuple(pod for rs in replica_sets for pod in index.get(rs.metadata.uid))

    def _keys_of_replica_set(self, replica_set: apps_pb2.ReplicaSet) -> Iterable[Key]:
        controller, namespace = controller_of(replica_set), replica_set.metadata.namespace
        if controller is not None:
            return ((namespace, controller.name),) if controller.kind == "Deployment" else ()
        return [
            key_of(deployment)
            for deployment in self._cluster.deployments_by_namespace.get(namespace)
            if Selector.from_label_selector(deployment.spec.selector).matches(replica_set.metadata.labels)
        ]

    def _keys_of_ended_pod(self, old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> Iterable[Key]:
        """A Deployment that recreates waits for the last old pod to end."""
        if old is None or (new is not None and not pods.is_terminal(new)):
            return ()
        controller, namespace = controller_of(old), old.metadata.namespace
        if controller is None:
            return ()
        replica_set = self._cluster.replica_sets.get(namespace, controller.name)
        owner = controller_of(replica_set) if replica_set is not None else None
        return () if owner is None else ((namespace, owner.name),)
