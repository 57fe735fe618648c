"""The cluster as all controllers see it: the cached kinds, and what is looked up in them."""

from __future__ import annotations

from collections.abc import Iterable

from h9s._pb import apps_pb2, core_pb2
from h9s.api import pods
from h9s.api.kinds import ApiObject
from h9s.api.owners import controller_of
from h9s.client import Client
from h9s.client.cache import Cache, Index

#: Everything that controllers act on. Events and leases are many, change often and matter to none.
CLASSES = (core_pb2.Namespace, core_pb2.Node, core_pb2.Pod, apps_pb2.ReplicaSet, apps_pb2.Deployment)


class Cluster:
    """The cache and its indexes, shared by all controllers of a process."""

    def __init__(self, client: Client) -> None:
        self.cache = Cache(client, CLASSES)
        self.namespaces = self.cache.of(core_pb2.Namespace)
        self.nodes = self.cache.of(core_pb2.Node)
        self.pods = self.cache.of(core_pb2.Pod)
        self.replica_sets = self.cache.of(apps_pb2.ReplicaSet)
        self.deployments = self.cache.of(apps_pb2.Deployment)
        #: By the uid of what controls them, or else under `orphanage` of their namespace.
        self.pods_by_controller = Index(self.pods, _controllers)
        self.replica_sets_by_controller = Index(self.replica_sets, _controllers)
        self.replica_sets_by_namespace = Index(self.replica_sets, _namespace)
        self.deployments_by_namespace = Index(self.deployments, _namespace)
        self.pods_by_node = Index(self.pods, _node)
        #: Under True: those that have ended.
        self.pods_by_end = Index(self.pods, lambda pod: (pods.is_terminal(pod),))

    def is_open(self, namespace: str) -> bool:
        """Whether objects can be created in the namespace."""
        found = self.namespaces.get("", namespace)
        return found is not None and not found.metadata.HasField("deletion_timestamp")


def orphanage(namespace: str) -> str:
    """Where the objects of a namespace are found that nothing controls; no uid looks like it."""
    return f"orphans/{namespace}"


def _controllers(obj: ApiObject) -> Iterable[str]:
    controller = controller_of(obj)
    return (controller.uid if controller is not None else orphanage(obj.metadata.namespace),)


def _namespace(obj: ApiObject) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _node(pod: core_pb2.Pod) -> Iterable[str]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()
