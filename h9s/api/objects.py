"""Between messages and the bytes that are stored and sent.

The stored bytes are the deterministic serialization of the typed message without
`metadata.resource_version`: that is the revision beside the bytes, and is filled in on the way out.
"""

from __future__ import annotations

import copy

from google.protobuf.any_pb2 import Any as PbAny
from google.protobuf.message import DecodeError

from h9s._pb import api_pb2, meta_pb2
from h9s.api.kinds import ApiObject, Kind, kind_by_message_name, kind_of
from h9s.errors import InvalidError

TYPE_URL_PREFIX = "type.googleapis.com/"


def encode(message: ApiObject) -> bytes:
    """The bytes to store. The message itself is left as it is."""
    if message.metadata.resource_version:
        message = copy.deepcopy(message)
        message.metadata.resource_version = ""
    return message.SerializeToString(deterministic=True)


def decode(kind: Kind, value: bytes, mod_revision: int) -> ApiObject:
    """The message of stored bytes, `metadata.resource_version` filled from `mod_revision` unless 0.
    Raises InvalidError if the bytes are not one."""
    try:
        message = kind.message.FromString(value)
    except DecodeError as error:
        raise InvalidError(f"these bytes are not a {kind.kind}: {error}") from error
    if mod_revision:
        message.metadata.resource_version = str(mod_revision)
    return message


def type_url(kind: Kind) -> str:
    """`type.googleapis.com/h9s.v1.Pod`."""
    return TYPE_URL_PREFIX + kind.message.DESCRIPTOR.full_name


def any_kind(value: PbAny) -> Kind:
    """The kind of what an Any holds, without decoding it. Raises InvalidError."""
    return kind_by_message_name(value.type_url.rpartition("/")[2])


def to_any(message: ApiObject) -> PbAny:
    """The message as a client sends it: `metadata.resource_version`, where set, goes along."""
    return PbAny(type_url=type_url(kind_of(message)), value=message.SerializeToString(deterministic=True))


def from_any(value: PbAny) -> ApiObject:
    """The message in an Any. Raises InvalidError on an unknown type or on broken bytes."""
    return decode(any_kind(value), value.value, 0)


def from_object(stored: api_pb2.Object) -> ApiObject:
    """The message of an answer, `metadata.resource_version` filled from its mod_revision."""
    return decode(any_kind(stored.value), stored.value.value, stored.mod_revision)


def ref(message: ApiObject) -> meta_pb2.ObjectReference:
    """A reference to the object as it is now, as events carry it."""
    kind = kind_of(message)
    metadata = message.metadata
    return meta_pb2.ObjectReference(
        api_version=kind.api_version,
        kind=kind.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )
