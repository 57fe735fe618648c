"""Owner references: who made an object, and whose disappearance takes it along."""

from __future__ import annotations

from h9s._pb import meta_pb2
from h9s.api.kinds import ApiObject, kind_of


def controller_of(message: ApiObject) -> meta_pb2.OwnerReference | None:
    """The reference to the one owner that manages the object, if any."""
    for reference in message.metadata.owner_references:
        if reference.controller:
            return reference
    return None


def controlled_by(message: ApiObject, owner: ApiObject) -> bool:
    """Whether `owner`, identified by its uid, manages the object."""
    reference = controller_of(message)
    return reference is not None and reference.uid == owner.metadata.uid


def new_controller_ref(owner: ApiObject) -> meta_pb2.OwnerReference:
    """The reference by which what `owner` creates belongs to it and is managed by it."""
    kind = kind_of(owner)
    return meta_pb2.OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
