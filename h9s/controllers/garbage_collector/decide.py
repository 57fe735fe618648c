"""What becomes of an owner's dependents, from a snapshot of both.

Background deletion: the owner is gone, its dependents follow. Foreground: the owner waits (finalizer
`foregroundDeletion`) until they are. Orphan: the owner waits (finalizer `orphan`) until none refers to
it any more. That an owner is gone is checked again by every commit that deletes because of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from h9s._pb import api_pb2, meta_pb2
from h9s.api.kinds import ApiObject, Kind, kinds_named
from h9s.client import operations
from h9s.controllers.claim import released
from h9s.controllers.decision import BATCH_SIZE, NOTHING_TO_DO, Decision

ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"


class OwnerKey(NamedTuple):
    """One owner, as its dependents refer to it. `namespace` is "" for cluster-scoped kinds."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class OwnerSnapshot:
    """An owner with everything that refers to its uid, at one revision.

    `found` is what there is now under the names of all the owners that the dependents have; None:
    nothing. Owners of kinds that are not watched are left out, and count as there.
    """

    owner: OwnerKey
    dependents: tuple[ApiObject, ...]
    found: Mapping[OwnerKey, ApiObject | None]
    #: The uids that other objects refer to.
    have_dependents: frozenset[str] = frozenset()


def owner_key(reference: meta_pb2.OwnerReference, namespace: str) -> OwnerKey | None:
    """The owner that an object in `namespace` refers to; None if its kind is unknown."""
    for kind in kinds_named(reference.kind):
        if kind.api_version == reference.api_version:
            return OwnerKey(kind, namespace if kind.namespaced else "", reference.name, reference.uid)
    return None


def decide(snapshot: OwnerSnapshot) -> Decision:
    """One commit, about at most `BATCH_SIZE` dependents; its own changes lead to the next."""
    owner = snapshot.found.get(snapshot.owner)
    if snapshot.owner not in snapshot.found:
        return NOTHING_TO_DO
    if owner is None or owner.metadata.uid != snapshot.owner.uid:
        return _follow(snapshot)
    if not owner.metadata.HasField("deletion_timestamp"):
        return NOTHING_TO_DO
    if ORPHAN_FINALIZER in owner.metadata.finalizers:
        return _orphan(snapshot, owner)
    if FOREGROUND_FINALIZER in owner.metadata.finalizers:
        return _delete_first(snapshot, owner)
    return NOTHING_TO_DO


def _follow(snapshot: OwnerSnapshot) -> Decision:
    """The owner is gone: dependents that nobody else owns are deleted, the others forget it."""
    guards: dict[OwnerKey, api_pb2.Operation] = {}
    changes: list[api_pb2.Operation] = []
    for dependent in snapshot.dependents:
        leaving = [key for key in _owners(dependent) if key is not None and _is_gone(snapshot, key)]
        change = _part(dependent, leaving, snapshot)
        if change is not None and len(changes) < BATCH_SIZE:
            changes.append(change)
            guards |= {key: _still_gone(snapshot, key) for key in leaving}
    return Decision((*guards.values(), *changes))


def _orphan(snapshot: OwnerSnapshot, owner: ApiObject) -> Decision:
    """Nobody shall refer to the owner; then it may go."""
    if snapshot.dependents:
        batch = snapshot.dependents[:BATCH_SIZE]
        return Decision(tuple(operations.update(released(owner, dependent)) for dependent in batch))
    return _let_go(owner, ORPHAN_FINALIZER)


def _delete_first(snapshot: OwnerSnapshot, owner: ApiObject) -> Decision:
    """The dependents that nobody else owns go first, each after its own; then the owner may go."""
    if not snapshot.dependents:
        return _let_go(owner, FOREGROUND_FINALIZER)
    guard = operations.check(owner, uid=owner.metadata.uid)
    changes = [
        change
        for dependent in snapshot.dependents
        if (change := _part(dependent, _leaving_with(snapshot, dependent), snapshot, "Foreground"))
        is not None
    ]
    return Decision((guard, *changes[:BATCH_SIZE])) if changes else NOTHING_TO_DO


def _leaving_with(snapshot: OwnerSnapshot, dependent: ApiObject) -> list[OwnerKey]:
    """Of the dependent's owners, the one that waits for it and those that are gone."""
    return [
        key
        for key in _owners(dependent)
        if key is not None and (key == snapshot.owner or _is_gone(snapshot, key))
    ]


def _part(
    dependent: ApiObject, leaving: list[OwnerKey], snapshot: OwnerSnapshot, policy: str = ""
) -> api_pb2.Operation | None:
    """What becomes of a dependent without these owners: it forgets them where it has others, and goes
    where it has not; None if it is going already. Fails if the dependent has changed."""
    if len(leaving) < len(dependent.metadata.owner_references):
        return operations.update(_without(dependent, {key.uid for key in leaving}))
    if dependent.metadata.HasField("deletion_timestamp"):
        return None
    revision = int(dependent.metadata.resource_version)
    has_own = dependent.metadata.uid in snapshot.have_dependents
    return operations.delete(dependent, mod_revision=revision, propagation_policy=policy if has_own else "")


def _owners(dependent: ApiObject) -> list[OwnerKey | None]:
    namespace = dependent.metadata.namespace
    return [owner_key(reference, namespace) for reference in dependent.metadata.owner_references]


def _let_go(owner: ApiObject, finalizer: str) -> Decision:
    changed = copy.deepcopy(owner)
    changed.metadata.finalizers.remove(finalizer)
    return Decision((operations.update(changed),))


def _is_gone(snapshot: OwnerSnapshot, key: OwnerKey) -> bool:
    if key not in snapshot.found:
        return False
    found = snapshot.found[key]
    return found is None or found.metadata.uid != key.uid


def _still_gone(snapshot: OwnerSnapshot, key: OwnerKey) -> api_pb2.Operation:
    """The check that the owner's name is as it was seen: free, or another object's."""
    found = snapshot.found[key]
    revision = 0 if found is None else int(found.metadata.resource_version)
    return operations.check(key.kind.message, key.name, key.namespace, mod_revision=revision)


def _without(dependent: ApiObject, uids: set[str]) -> ApiObject:
    changed = copy.deepcopy(dependent)
    kept = [ref for ref in changed.metadata.owner_references if ref.uid not in uids]
    del changed.metadata.owner_references[:]
    changed.metadata.owner_references.extend(kept)
    return changed
