"""The pods that this node is to run, by uid: as the API has them, or had them when it last answered."""

from __future__ import annotations

from collections.abc import Callable

from h9s._pb import core_pb2
from h9s.kubelet.checkpoint import Checkpoint


class DesiredPods:
    """Fed by the informer's handler. Keeps what it has while the apiservers are away."""

    def __init__(self, checkpoint: Checkpoint, *, on_change: Callable[[str], None]) -> None:
        """`on_change` is called with the uid of every pod that came, changed or went."""
        self._checkpoint = checkpoint
        self._on_change = on_change
        self._pods: dict[str, core_pb2.Pod] = {}
        #: Whether the API has said which pods there are: only then is any other one to be removed.
        self.complete = False

    def get(self, uid: str) -> core_pb2.Pod | None:
        """The pod; it must not be changed."""
        return self._pods.get(uid)

    def find(self, namespace: str, name: str) -> core_pb2.Pod | None:
        """The pod of that name."""
        for pod in self._pods.values():
            if pod.metadata.namespace == namespace and pod.metadata.name == name:
                return pod
        return None

    def uids(self) -> set[str]:
        """Of all of them."""
        return set(self._pods)

    def take(self, old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> None:
        """A change, as informers report it. A pod of the same name but another uid is another pod."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._drop(old.metadata.uid)
        if new is not None:
            self._pods[new.metadata.uid] = new
            self._checkpoint.save(new)
            self._on_change(new.metadata.uid)

    def finish_listing(self, listed: set[str]) -> None:
        """The API's full list (uids) has been taken in: nothing else is wanted, recalled or not."""
        self.complete = True
        recalled = {pod.metadata.uid for pod in self._checkpoint.load()}
        for uid in (set(self._pods) | recalled) - listed:
            self._drop(uid)

    def recall(self) -> int:
        """Take the pods of the last run instead of the API's, which is away; gives how many."""
        for pod in self._checkpoint.load():
            if pod.metadata.uid not in self._pods:
                self._pods[pod.metadata.uid] = pod
                self._on_change(pod.metadata.uid)
        return len(self._pods)

    def _drop(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._checkpoint.remove(uid)
        self._on_change(uid)
