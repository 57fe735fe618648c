"""What reads and watches give back, with typed objects."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Generic

from h9s._pb import api_pb2
from h9s.api.kinds import ApiObject, Kind, M
from h9s.api.objects import any_kind, from_object
from h9s.errors import InternalError


@dataclass(frozen=True)
class Listing(Generic[M]):
    """All objects of a collection as they were at `revision`, sorted by namespace and name."""

    items: list[M]
    revision: int


class EventType(Enum):
    """What happened to an object."""

    ADDED = api_pb2.WatchEvent.ADDED
    MODIFIED = api_pb2.WatchEvent.MODIFIED
    DELETED = api_pb2.WatchEvent.DELETED


@dataclass(frozen=True)
class WatchEvent(Generic[M]):
    """One change. DELETED: `object` is the last state, its resource_version that of the deletion.
    `previous` is None unless the watch asked for it."""

    type: EventType
    object: M
    previous: M | None = None


@dataclass(frozen=True)
class WatchBatch(Generic[M]):
    """Everything watched that happened up to `revision`. Without events it says how far the watch is."""

    revision: int
    events: tuple[WatchEvent[M], ...]


def decode_object(cls: type[M], stored: api_pb2.Object) -> M:
    """The typed object of an answer. Raises InternalError where the server sent another kind."""
    message = from_object(stored)
    if not isinstance(message, cls):
        raise InternalError(f"the apiserver sent a {type(message).__name__} instead of a {cls.__name__}")
    return message


def decode_mixed_batch(kinds: Collection[Kind], response: api_pb2.WatchResponse) -> WatchBatch[ApiObject]:
    """The typed form of one message of a watch on every kind, without the events of other kinds."""
    return WatchBatch(
        revision=response.revision,
        events=tuple(
            WatchEvent(type=EventType(event.type), object=from_object(event.object))
            for event in response.events
            if any_kind(event.object.value) in kinds
        ),
    )


def decode_batch(cls: type[M], response: api_pb2.WatchResponse) -> WatchBatch[M]:
    """The typed form of one message of a watch stream."""
    return WatchBatch(
        revision=response.revision,
        events=tuple(
            WatchEvent(
                type=EventType(event.type),
                object=decode_object(cls, event.object),
                previous=decode_object(cls, event.previous) if event.HasField("previous") else None,
            )
            for event in response.events
        ),
    )
