"""Store keys: `/<group>/<kind>/<namespace>/<name>`, the core group written `core`.

Keys of one kind are neighbours, and within it those of one namespace; cluster-scoped objects have
an empty namespace. Nothing else in h9s takes keys apart or puts them together.
"""

from __future__ import annotations

from h9s.api.kinds import Kind, kind_by
from h9s.errors import InvalidError


def object_key(kind: Kind, namespace: str, name: str) -> str:
    """The key of one object; `namespace` is "" for a cluster-scoped kind."""
    return f"{kind.key_prefix}{namespace}/{name}"


def collection_prefix(kind: Kind, namespace: str = "") -> str:
    """What all keys of a kind, or with a namespace all of its keys in there, begin with."""
    return f"{kind.key_prefix}{namespace}/" if namespace else kind.key_prefix


def parse_key(key: str) -> tuple[Kind, str, str]:
    """(kind, namespace, name) of a key. Raises InvalidError if it is none or its kind is unknown."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] or not parts[4]:
        raise InvalidError(f"{key!r} is not a key: expected /<group>/<kind>/<namespace>/<name>")
    _, group, kind, namespace, name = parts
    return kind_by("" if group == "core" else group, kind), namespace, name
