"""Who may do what. Pure rules on a caller's role; each raises ForbiddenError or returns.

- admin: everything.
- component (scheduler, controllers, other clients of the control plane): everything but join tokens.
- node (a howbelet): reads everything but join tokens; writes its own Node, Events and Leases, and the
  status of pods bound to it, which it may also delete.
- replica: reads, like a node.
"""

from __future__ import annotations

from h9s._pb import api_pb2, core_pb2
from h9s.api.kinds import ApiObject, Kind, kind_of
from h9s.apiserver.authentication import SYSTEM
from h9s.errors import ForbiddenError
from h9s.pki import ROLE_ADMIN, ROLE_COMPONENT, ROLE_NODE, Identity

JOIN_TOKEN_GROUP = "h9s.io"
JOIN_TOKEN_KIND = "JoinToken"

_NODE_KIND = kind_of(core_pb2.Node)
_POD_KIND = kind_of(core_pb2.Pod)
_FREE_FOR_NODES = frozenset({("", "Event"), ("coordination.k8s.io", "Lease")})
_UNRESTRICTED = frozenset({ROLE_ADMIN, SYSTEM.role})
_WRITERS = frozenset({*_UNRESTRICTED, ROLE_COMPONENT})


def may_see_secrets(caller: Identity) -> bool:
    """Whether join tokens are shown to the caller."""
    return caller.role in _UNRESTRICTED


def authorize_read(caller: Identity, kind: Kind | None) -> None:
    """Get, List and Watch of a kind; None stands for every kind that the caller may see."""
    if kind is not None and _is_secret(kind) and not may_see_secrets(caller):
        raise _forbidden(caller, f"read {kind.plural}")


def authorize_write(
    caller: Identity, verb: api_pb2.Operation.Verb.ValueType, kind: Kind, name: str, current: ApiObject | None
) -> None:
    """One operation of a Commit. `current` is the object as it is before it, if it exists."""
    if caller.role in _WRITERS:
        if _is_secret(kind) and not may_see_secrets(caller):
            raise _forbidden(caller, f"touch {kind.plural}")
        return
    if verb == api_pb2.Operation.CHECK and not _is_secret(kind):
        return
    if caller.role == ROLE_NODE and _node_may_write(caller, verb, kind, name, current):
        return
    action = api_pb2.Operation.Verb.Name(verb).lower().replace("_", " ")
    raise _forbidden(caller, f"{action} {kind.singular} {name!r}")


def authorize_heartbeat(caller: Identity, node_name: str) -> None:
    """A node beats for itself alone."""
    if caller.role in _WRITERS or (caller.role == ROLE_NODE and caller.name == node_name):
        return
    raise _forbidden(caller, f"send heartbeats for node {node_name!r}")


def authorize_pod_access(caller: Identity, action: str) -> None:
    """Logs and Exec."""
    if caller.role not in _WRITERS:
        raise _forbidden(caller, f"{action} pods")


def authorize_join_tokens(caller: Identity) -> None:
    """CreateJoinToken."""
    if not may_see_secrets(caller):
        raise _forbidden(caller, "create join tokens")


def authorize_backup(caller: Identity) -> None:
    """Backup: it holds everything, secrets too."""
    if not may_see_secrets(caller):
        raise _forbidden(caller, "back the cluster up")


def authorize_members(caller: Identity) -> None:
    """Who takes part in consensus is for admins to say."""
    if caller.role not in _UNRESTRICTED:
        raise _forbidden(caller, "change the cluster's replicas")


def _node_may_write(
    caller: Identity, verb: api_pb2.Operation.Verb.ValueType, kind: Kind, name: str, current: ApiObject | None
) -> bool:
    if (kind.group, kind.kind) in _FREE_FOR_NODES:
        return True
    if kind is _NODE_KIND:
        return name == caller.name and verb != api_pb2.Operation.DELETE
    if kind is _POD_KIND and verb in (api_pb2.Operation.UPDATE_STATUS, api_pb2.Operation.DELETE):
        # A pod that is gone: let the caller hear that instead.
        return not isinstance(current, core_pb2.Pod) or current.spec.node_name == caller.name
    return False


def _is_secret(kind: Kind) -> bool:
    return kind.group == JOIN_TOKEN_GROUP and kind.kind == JOIN_TOKEN_KIND


def _forbidden(caller: Identity, action: str) -> ForbiddenError:
    return ForbiddenError(f"{caller.role} {caller.name!r} may not {action}")
