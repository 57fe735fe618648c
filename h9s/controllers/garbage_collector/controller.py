"""What wakes the garbage collector, and where its snapshots come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from h9s.api.kinds import ApiObject, kind_of
from h9s.client.cache import Collection, Index
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Controller, Wake
from h9s.controllers.decision import NOTHING_TO_DO, Decision
from h9s.controllers.garbage_collector.decide import OwnerKey, OwnerSnapshot, decide, owner_key


class GarbageCollector(Controller[OwnerKey]):
    """Keys are owners, whether they exist or not."""

    name: ClassVar[str] = "garbagecollector"

    def __init__(self, cluster: Cluster) -> None:
        self._collections = {kind_of(collection.cls): collection for collection in cluster.cache.collections}
        self._dependents: list[Index[Any, str]] = [
            Index(collection, _owner_uids) for collection in self._collections.values()
        ]

    def wakes(self) -> Sequence[Wake[OwnerKey]]:
        """See `Controller.wakes`."""
        return [
            wake
            for collection in self._collections.values()
            for wake in (
                Wake(collection, _keys_of_dependent),
                Wake(collection, partial(self._keys_of_owner, collection)),
            )
        ]

    async def decide(self, key: OwnerKey) -> Decision:
        """See `Controller.decide`."""
        if key.kind not in self._collections:
            return NOTHING_TO_DO
        dependents = [obj for index in self._dependents for obj in index.get(key.uid)]
        owners = {key} | {
            owner
            for obj in dependents
            for reference in obj.metadata.owner_references
            if (owner := owner_key(reference, obj.metadata.namespace)) is not None
        }
        return decide(
            OwnerSnapshot(
                owner=key,
                dependents=tuple(dependents),
                found={
                    owner: self._collections[owner.kind].get(owner.namespace, owner.name)
                    for owner in owners
                    if owner.kind in self._collections
                },
                have_dependents=frozenset(
                    obj.metadata.uid for obj in dependents if self._has_dependents(obj.metadata.uid)
                ),
            )
        )

    def _has_dependents(self, uid: str) -> bool:
        return any(uid in index for index in self._dependents)

    def _keys_of_owner(
        self, collection: Collection[Any], old: ApiObject | None, new: ApiObject | None
    ) -> Iterable[OwnerKey]:
        """An owner that is gone or going."""
        kind = kind_of(collection.cls)
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            yield OwnerKey(kind, old.metadata.namespace, old.metadata.name, old.metadata.uid)
        if new is not None and new.metadata.HasField("deletion_timestamp"):
            yield OwnerKey(kind, new.metadata.namespace, new.metadata.name, new.metadata.uid)


def _keys_of_dependent(old: ApiObject | None, new: ApiObject | None) -> Iterable[OwnerKey]:
    """The owners of an object that has come, gone, is going, or refers to others than before."""
    if old is not None and new is not None and _same_bonds(old, new):
        return ()
    return [
        owner
        for obj in (old, new)
        if obj is not None
        for reference in obj.metadata.owner_references
        if (owner := owner_key(reference, obj.metadata.namespace)) is not None
    ]


def _same_bonds(old: ApiObject, new: ApiObject) -> bool:
    before, after = old.metadata, new.metadata
    return (
        before.uid == after.uid
        and before.HasField("deletion_timestamp") == after.HasField("deletion_timestamp")
        and list(before.owner_references) == list(after.owner_references)
    )


def _owner_uids(obj: ApiObject) -> Iterable[str]:
    return [reference.uid for reference in obj.metadata.owner_references]
