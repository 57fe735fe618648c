"""Writing an old state of an object back, as a new write: what it becomes, given what there is now.

The user's part comes from the old state: labels, annotations, spec. Identity and what the cluster keeps
of an object (uid, creation, finalizers, owners, status) are those of the object there is now; one that
is gone is made anew. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from h9s._pb import core_pb2
from h9s.api.kinds import M

#: Fields of metadata that belong to an object's life, not to its state.
_OF_A_LIFE = (
    "uid",
    "creation_timestamp",
    "deletion_timestamp",
    "deletion_grace_period_seconds",
    "generation",
    "resource_version",
    "finalizers",
    "owner_references",
)


def put_back(current: M, old: M) -> None:
    """Make `current` what `old` was, in place, as the same object."""
    now: Any = copy.deepcopy(current)
    then: Any = current
    then.CopyFrom(old)
    then.metadata.CopyFrom(now.metadata)
    for field in ("labels", "annotations"):
        values = getattr(then.metadata, field)
        values.clear()
        values.update(getattr(old.metadata, field))
    if "status" in then.DESCRIPTOR.fields_by_name:
        then.ClearField("status")
        if now.HasField("status"):
            then.status.CopyFrom(now.status)


def made_anew(old: M, *, living_owners: Collection[str]) -> M:
    """What to create so that `old` is there again. Owners that are not `living_owners` (uids) are left
    out: what belongs to an object that is gone would be deleted at once."""
    new = copy.deepcopy(old)
    message: Any = new
    for field in _OF_A_LIFE:
        message.metadata.ClearField(field)
    owners = [owner for owner in old.metadata.owner_references if owner.uid in living_owners]
    message.metadata.owner_references.extend(owners)
    if "status" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("status")
    if isinstance(new, core_pb2.Pod):
        # Its node may be gone or full by now.
        new.spec.ClearField("node_name")
    return new
