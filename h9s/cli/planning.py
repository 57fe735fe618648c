"""What `apply` has to do about one object: pure, from the manifest and from what the cluster has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from h9s.api.codec import from_dict, to_dict
from h9s.api.kinds import ApiObject
from h9s.cli.merge import last_applied, three_way_merge, with_last_applied

#: Metadata that the server writes: a manifest that came out of `get -o yaml` has it, and applying
#: it must not claim it.
_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")


class Action(Enum):
    """What becomes of an object, in the word that the user reads."""

    CREATE = "created"
    UPDATE = "configured"
    NOTHING = "unchanged"


@dataclass(frozen=True)
class Step:
    """An object of the plan; `message` is what to send, or what there is if nothing is to be done.

    `pinned`: the manifest names the resourceVersion that it is meant for.
    """

    action: Action
    message: ApiObject
    pinned: bool = False


def plan(claims: dict[str, Any], current: ApiObject | None) -> Step:
    """How to get from what the cluster has (None: nothing) to what the manifest claims.

    Applying the same manifest to the outcome again gives `Action.NOTHING`.
    """
    desired = with_last_applied(_without_servers_own(claims))
    if current is None:
        return Step(Action.CREATE, from_dict(desired))
    live = to_dict(current)
    wanted = from_dict(three_way_merge(_without_servers_own(last_applied(live)), desired, live))
    revision = claims["metadata"].get("resourceVersion")
    pinned = bool(revision)
    if pinned:
        wanted.metadata.resource_version = revision
    if wanted == from_dict(live):
        return Step(Action.NOTHING, current, pinned)
    return Step(Action.UPDATE, wanted, pinned)


def _without_servers_own(document: dict[str, Any]) -> dict[str, Any]:
    """All of it but what only the cluster writes."""
    result = {name: value for name, value in document.items() if name != "status"}
    metadata = result.get("metadata")
    if isinstance(metadata, dict):
        result["metadata"] = {name: value for name, value in metadata.items() if name not in _SERVERS_OWN}
    return result
