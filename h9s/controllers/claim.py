"""Which of the objects around an owner are its own: adoption and release by selector.

Kubernetes' rules: an owner adopts what its selector matches and nobody controls, releases what it
controls and no longer matches, and never touches what somebody else controls.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic

from h9s._pb import api_pb2
from h9s.api.kinds import ApiObject, M
from h9s.api.labels import Selector
from h9s.api.owners import controller_of, new_controller_ref
from h9s.client import operations


@dataclass(frozen=True)
class Claim(Generic[M]):
    """`held` is controlled and matches; `adopt` and `release` are what the owner should take and let go."""

    held: tuple[M, ...]
    adopt: tuple[M, ...]
    release: tuple[M, ...]


def claim(owner: ApiObject, selector: Selector, candidates: Iterable[M]) -> Claim[M]:
    """Sort the candidates. What is being deleted is neither adopted nor released, and an owner that is
    being deleted does neither; an empty selector matches nothing."""
    held, adopt, release = [], [], []
    idle = owner.metadata.HasField("deletion_timestamp")
    for candidate in candidates:
        controller = controller_of(candidate)
        matches = bool(selector) and selector.matches(candidate.metadata.labels)
        settled = idle or candidate.metadata.HasField("deletion_timestamp")
        if controller is None:
            if matches and not settled:
                adopt.append(candidate)
        elif controller.uid == owner.metadata.uid:
            if matches:
                held.append(candidate)
            elif not settled:
                release.append(candidate)
    return Claim(tuple(held), tuple(adopt), tuple(release))


def operations_of(owner: ApiObject, claimed: Claim[M]) -> tuple[api_pb2.Operation, ...]:
    """The updates that adopt and release; each fails if its object has changed."""
    adoptions = (operations.update(adopted(owner, candidate)) for candidate in claimed.adopt)
    releases = (operations.update(released(owner, candidate)) for candidate in claimed.release)
    return (*adoptions, *releases)


def adopted(owner: ApiObject, candidate: M) -> M:
    """The candidate with `owner` as its controller."""
    changed = copy.deepcopy(candidate)
    _remove_owner(changed, owner)
    changed.metadata.owner_references.append(new_controller_ref(owner))
    return changed


def released(owner: ApiObject, candidate: M) -> M:
    """The candidate without `owner` among its owners."""
    changed = copy.deepcopy(candidate)
    _remove_owner(changed, owner)
    return changed


def _remove_owner(candidate: ApiObject, owner: ApiObject) -> None:
    kept = [ref for ref in candidate.metadata.owner_references if ref.uid != owner.metadata.uid]
    candidate.metadata.ClearField("owner_references")
    candidate.metadata.owner_references.extend(kept)
