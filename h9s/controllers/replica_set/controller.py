"""What wakes the ReplicaSet controller, and where its snapshots come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from h9s._pb import apps_pb2, core_pb2
from h9s.api.kinds import ApiObject
from h9s.api.labels import Selector
from h9s.api.owners import controller_of
from h9s.client.cache import Key, key_of
from h9s.clock import Clock
from h9s.controllers.cluster import Cluster, orphanage
from h9s.controllers.controller import Controller, Wake, either
from h9s.controllers.decision import NOTHING_TO_DO, Decision
from h9s.controllers.replica_set.decide import ReplicaSetSnapshot, decide


class ReplicaSetController(Controller[Key]):
    """Keys are those of ReplicaSets."""

    name: ClassVar[str] = "replicaset"

    def __init__(self, cluster: Cluster, *, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    def wakes(self) -> Sequence[Wake[Key]]:
        """See `Controller.wakes`."""
        return (
            Wake(self._cluster.replica_sets, either(lambda replica_set: (key_of(replica_set),))),
            Wake(self._cluster.pods, either(self._keys_of_pod)),
        )

    async def decide(self, key: Key) -> Decision:
        """See `Controller.decide`."""
        cluster = self._cluster
        replica_set = cluster.replica_sets.get(*key)
        if replica_set is None:
            return NOTHING_TO_DO
        namespace, _ = key
        pods = cluster.pods_by_controller.get(replica_set.metadata.uid)
        orphans = cluster.pods_by_controller.get(orphanage(namespace))
        return decide(
            ReplicaSetSnapshot(
                replica_set=replica_set,
                pods=(*pods, *orphans),
                now=self._clock.wall(),
                namespace_open=cluster.is_open(namespace),
            )
        )

    def about(self, key: Key) -> ApiObject | None:
        """See `Controller.about`."""
        return self._cluster.replica_sets.get(*key)

    def _keys_of_pod(self, pod: core_pb2.Pod) -> Iterable[Key]:
        controller = controller_of(pod)
        if controller is not None:
            return ((pod.metadata.namespace, controller.name),) if controller.kind == "ReplicaSet" else ()
        return [
            key_of(replica_set)
            for replica_set in self._cluster.replica_sets_by_namespace.get(pod.metadata.namespace)
            if _selects(replica_set, pod)
        ]


def _selects(replica_set: apps_pb2.ReplicaSet, pod: core_pb2.Pod) -> bool:
    return Selector.from_label_selector(replica_set.spec.selector).matches(pod.metadata.labels)
