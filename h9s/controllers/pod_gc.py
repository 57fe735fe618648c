"""Pods that have ended are kept for their logs and reasons, but not without limit: the oldest go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from h9s._pb import core_pb2
from h9s.api import pods
from h9s.client import operations
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Controller, Wake
from h9s.controllers.decision import BATCH_SIZE, Decision

_EVERYTHING = "ended pods"


def decide(ended: Sequence[core_pb2.Pod], threshold: int) -> Decision:
    """Delete the oldest of the pods that have ended, as far as there are more than `threshold`."""
    surplus = len(ended) - threshold
    if surplus <= 0:
        return Decision()
    oldest = sorted(ended, key=lambda pod: (pod.metadata.creation_timestamp.seconds, pod.metadata.name))
    doomed = oldest[: min(surplus, BATCH_SIZE)]
    return Decision(tuple(operations.delete(pod, grace_period_seconds=0) for pod in doomed))


class PodGarbageCollector(Controller[str]):
    """There is one key, for all pods together."""

    name: ClassVar[str] = "podgc"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster, *, threshold: int) -> None:
        self._cluster = cluster
        self._threshold = threshold

    def wakes(self) -> Sequence[Wake[str]]:
        """See `Controller.wakes`."""
        return (Wake(self._cluster.pods, _keys),)

    async def decide(self, key: str) -> Decision:
        """See `Controller.decide`."""
        del key
        return decide(self._cluster.pods_by_end.get(True), self._threshold)


def _keys(old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> Iterable[str]:
    """A pod that has ended, or one of those that is gone."""
    either = old if new is None else new
    return (_EVERYTHING,) if either is not None and pods.is_terminal(either) else ()
