"""A namespace that is deleted takes its content along: all of it goes, then the namespace itself.

Once a namespace is being deleted the apiserver lets nothing new into it; so a list made afterwards is
complete, and when it is empty the finalizer may go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from h9s._pb import core_pb2
from h9s.api.kinds import KINDS, ApiObject
from h9s.client import Client, operations
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Controller, Wake, either
from h9s.controllers.decision import BATCH_SIZE, NOTHING_TO_DO, Decision

FINALIZER = "kubernetes"
#: When to look again, in seconds, for what others still have to stop and delete.
_RETRY_SECONDS = 1.0


def decide(namespace: core_pb2.Namespace, content: Sequence[ApiObject]) -> Decision:
    """The next step for a namespace that is being deleted, given everything in it."""
    remaining = [obj for obj in content if not obj.metadata.HasField("deletion_timestamp")]
    if remaining:
        batch = tuple(operations.delete(obj) for obj in remaining[:BATCH_SIZE])
        return Decision(batch, again_after=0.0 if len(remaining) > BATCH_SIZE else _RETRY_SECONDS)
    if content:
        return Decision(again_after=_RETRY_SECONDS)
    if FINALIZER not in namespace.spec.finalizers:
        return NOTHING_TO_DO
    changed = copy.deepcopy(namespace)
    changed.spec.finalizers.remove(FINALIZER)
    return Decision((operations.update(changed),))


class NamespaceController(Controller[str]):
    """Keys are names of namespaces."""

    name: ClassVar[str] = "namespace"

    def __init__(self, cluster: Cluster, client: Client) -> None:
        self._cluster = cluster
        self._client = client

    def wakes(self) -> Sequence[Wake[str]]:
        """See `Controller.wakes`."""
        return (
            Wake(self._cluster.namespaces, either(lambda namespace: (namespace.metadata.name,))),
            Wake(self._cluster.pods, self._keys_of_gone),
        )

    async def decide(self, key: str) -> Decision:
        """See `Controller.decide`."""
        namespace = self._cluster.namespaces.get("", key)
        if namespace is None or not namespace.metadata.HasField("deletion_timestamp"):
            return NOTHING_TO_DO
        content: list[Any] = []
        for kind in KINDS:
            if kind.namespaced:
                content += (await self._client.list(kind.message, key)).items
        return decide(namespace, content)

    def _keys_of_gone(self, old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> Iterable[str]:
        """A namespace that is being deleted waits for its last pod."""
        if old is None or new is not None or self._cluster.is_open(old.metadata.namespace):
            return ()
        return (old.metadata.namespace,)
