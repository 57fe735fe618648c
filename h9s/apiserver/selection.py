"""Which objects a List or a Watch means: a key or a collection, narrowed by label and field selectors.

Pure. Stored bytes are decoded only where a selector has to look inside, and then once for all who ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from h9s._pb import api_pb2, cluster_pb2
from h9s.api.fields import FieldSelector
from h9s.api.keys import collection_prefix, object_key
from h9s.api.kinds import ApiObject, Kind, kind_by, kind_of
from h9s.api.labels import Selector
from h9s.api.objects import decode, type_url
from h9s.apiserver.authorization import authorize_read, may_see_secrets
from h9s.apiserver.refusals import require_scope
from h9s.errors import InvalidError
from h9s.pki import Identity
from h9s.store.model import KeyRange, KeyValue

_SECRET_PREFIX = collection_prefix(kind_of(cluster_pb2.JoinToken))
_REMEMBERED_OBJECTS = 2048

Predicate: TypeAlias = Callable[[KeyValue], bool]


class Objects:
    """Stored values as messages, each decoded once while it is remembered. They are not to be changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], ApiObject] = {}

    def of(self, found: KeyValue) -> ApiObject:
        """The message, without `metadata.resource_version`."""
        key = (found.key, found.mod_revision)
        message = self._known.get(key)
        if message is None:
            if len(self._known) >= _REMEMBERED_OBJECTS:
                del self._known[next(iter(self._known))]
            message = self._known[key] = decode(kind_of_key(found.key), found.value, 0)
        return message


class Selection:
    """What a caller asked for and may see.

    `prefix` is what all keys begin with; where `exact`, it is the one key. `selects` tells whether a
    value of such a key is meant; None stands for "all are".
    """

    __slots__ = ("exact", "prefix", "selects")

    def __init__(self, prefix: str, *, exact: bool = False, selects: Predicate | None = None) -> None:
        self.prefix = prefix
        self.exact = exact
        self.selects = selects

    @property
    def keys(self) -> KeyRange:
        """All keys that may be meant."""
        return KeyRange.only(self.prefix) if self.exact else KeyRange.under(self.prefix)

    def covers(self, key: str) -> bool:
        """Whether the key, whatever its value, may be meant."""
        return key == self.prefix if self.exact else key.startswith(self.prefix)


def select(
    key: api_pb2.ObjectKey, *, labels: str, fields: str, caller: Identity, objects: Objects
) -> Selection:
    """The selection of a List or Watch. Raises InvalidError, ForbiddenError."""
    label_selector, field_selector = Selector.parse(labels), FieldSelector.parse(fields)
    kind = kind_by(key.group, key.kind) if key.kind else None
    authorize_read(caller, kind)
    if kind is None:
        if key.group or key.namespace or key.name:
            raise InvalidError("a key without a kind means every object: leave out group, namespace and name")
        hidden = "" if may_see_secrets(caller) else _SECRET_PREFIX
        return Selection("/", selects=_predicate(label_selector, field_selector, objects, hidden))
    field_selector.check(kind)
    predicate = _predicate(label_selector, field_selector, objects, "")
    if key.name:
        require_scope(kind, key.namespace)
        return Selection(object_key(kind, key.namespace, key.name), exact=True, selects=predicate)
    if key.namespace:
        require_scope(kind, key.namespace)
    return Selection(collection_prefix(kind, key.namespace), selects=predicate)


_KINDS: dict[str, tuple[Kind, str]] = {}


def kind_of_key(key: str) -> Kind:
    """The kind whose object is stored under this key."""
    return _kind_and_url(key)[0]


def type_url_of_key(key: str) -> str:
    """The Any type URL of the value stored under this key."""
    return _kind_and_url(key)[1]


def _kind_and_url(key: str) -> tuple[Kind, str]:
    prefix = key[: key.index("/", key.index("/", 1) + 1)]
    known = _KINDS.get(prefix)
    if known is None:
        _, group, name = prefix.split("/")
        kind = kind_by("" if group == "core" else group, name)
        known = _KINDS[prefix] = (kind, type_url(kind))
    return known


def _predicate(labels: Selector, fields: FieldSelector, objects: Objects, hidden: str) -> Predicate | None:
    if not labels and not fields and not hidden:
        return None

    def selects(found: KeyValue) -> bool:
        if hidden and found.key.startswith(hidden):
            return False
        if not labels and not fields:
            return True
        message = objects.of(found)
        return labels.matches(message.metadata.labels) and fields.matches(message)

    return selects
