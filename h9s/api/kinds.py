"""The registry of kinds: which message is which Kubernetes kind, and what users may call it.

Everything that must know "all kinds" asks here; nobody keeps a second list.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

from h9s._pb import apps_pb2, cluster_pb2, coordination_pb2, core_pb2
from h9s.errors import InvalidError

#: Every message that can be stored. Further kinds, once registered, look the same: they have `metadata`.
ApiObject: TypeAlias = (
    core_pb2.Namespace
    | core_pb2.Pod
    | core_pb2.Node
    | core_pb2.Event
    | apps_pb2.ReplicaSet
    | apps_pb2.Deployment
    | coordination_pb2.Lease
    | cluster_pb2.JoinToken
)

M = TypeVar("M", bound=ApiObject)


@dataclass(frozen=True)
class Kind:
    """One kind of object. `group` is "" for the core group; `kind` is the CamelCase name."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    message: type[ApiObject]
    #: h9s's own bookkeeping: users are not told of it.
    internal: bool = False

    @cached_property
    def api_version(self) -> str:
        """`v1`, `apps/v1`: as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def resource(self) -> str:
        """`pods`, `deployments.apps`: the plural with its group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def key_prefix(self) -> str:
        """What all store keys of this kind begin with: `/core/Pod/`, `/apps/Deployment/`."""
        return f"/{self.group or 'core'}/{self.kind}/"

    @cached_property
    def has_spec(self) -> bool:
        """Whether the kind has a spec, whose changes `metadata.generation` counts."""
        return "spec" in self.message.DESCRIPTOR.fields_by_name

    @cached_property
    def has_status(self) -> bool:
        """Whether the kind has a status, written apart from the rest."""
        return "status" in self.message.DESCRIPTOR.fields_by_name

    @property
    def names(self) -> tuple[str, ...]:
        """All lower-case names that users may write for it."""
        return (self.kind.lower(), self.plural, self.singular, *self.short_names)


#: In the order of registration.
KINDS: list[Kind] = []
_BY_CLASS: dict[type, Kind] = {}
_BY_GROUP_AND_KIND: dict[tuple[str, str], Kind] = {}
_BY_MESSAGE_NAME: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Add a kind. Raises ValueError if its group and kind, or its message, are taken."""
    if (kind.group, kind.kind) in _BY_GROUP_AND_KIND or kind.message in _BY_CLASS:
        raise ValueError(f"{kind.api_version} {kind.kind} is registered already")
    KINDS.append(kind)
    _BY_CLASS[kind.message] = kind
    _BY_GROUP_AND_KIND[kind.group, kind.kind] = kind
    _BY_MESSAGE_NAME[kind.message.DESCRIPTOR.full_name] = kind


def kind_of(message: M | type[M]) -> Kind:
    """The kind of a message or of its class. Raises InvalidError if it is not one that is stored."""
    cls = message if isinstance(message, type) else type(message)
    try:
        return _BY_CLASS[cls]
    except KeyError:
        raise InvalidError(f"{cls.__name__} is not a kind of object") from None


def kind_by(group: str, kind: str) -> Kind:
    """The kind named exactly so; the core group is "". Raises InvalidError with a suggestion."""
    try:
        return _BY_GROUP_AND_KIND[group, kind]
    except KeyError:
        raise InvalidError(unknown_kind(f"{kind}.{group}" if group else kind)) from None


def kind_by_message_name(full_name: str) -> Kind:
    """The kind of the protobuf message `h9s.v1.Pod`. Raises InvalidError."""
    try:
        return _BY_MESSAGE_NAME[full_name]
    except KeyError:
        raise InvalidError(f"{full_name!r} is not a kind of object") from None


def find_kind(name: str) -> Kind:
    """The kind that a user means by its kind, plural, singular or short name, in any case, with an
    optional `.group`. Raises InvalidError, with a suggestion, if there is none or more than one."""
    wanted, _, group = name.lower().partition(".")
    found = [kind for kind in KINDS if wanted in kind.names and (not group or kind.group == group)]
    if not found:
        raise InvalidError(unknown_kind(name))
    if len(found) > 1:
        raise InvalidError(f"{name!r} may be {' or '.join(kind.resource for kind in found)}: name the group")
    return found[0]


def kinds_named(kind: str) -> list[Kind]:
    """All kinds whose CamelCase name is exactly this, whatever their group."""
    return [known for known in KINDS if known.kind == kind]


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the candidate nearest to `name`, or "" if none is near."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.7)
    return f", did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""


def unknown_kind(name: str) -> str:
    """What to say of a kind that does not exist."""
    known = [kind for kind in KINDS if not kind.internal]
    hint = suggestion(name.partition(".")[0], [text for kind in known for text in (*kind.names, kind.kind)])
    return f"unknown kind {name!r}" + (hint or f"; there are {', '.join(kind.kind for kind in known)}")


for _kind in (
    Kind("", "v1", "Namespace", "namespaces", "namespace", ("ns",), False, core_pb2.Namespace),
    Kind("", "v1", "Node", "nodes", "node", ("no",), False, core_pb2.Node),
    Kind("", "v1", "Pod", "pods", "pod", ("po",), True, core_pb2.Pod),
    Kind("", "v1", "Event", "events", "event", ("ev",), True, core_pb2.Event),
    Kind("apps", "v1", "ReplicaSet", "replicasets", "replicaset", ("rs",), True, apps_pb2.ReplicaSet),
    Kind("apps", "v1", "Deployment", "deployments", "deployment", ("deploy",), True, apps_pb2.Deployment),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", "lease", (), True, coordination_pb2.Lease),
    Kind(
        "h9s.io",
        "v1",
        "JoinToken",
        "jointokens",
        "jointoken",
        (),
        False,
        cluster_pb2.JoinToken,
        internal=True,
    ),
):
    register(_kind)
