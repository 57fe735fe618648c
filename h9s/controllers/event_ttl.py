"""Events are deleted when they are old: they are for people, who look soon or never."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from h9s._pb import core_pb2
from h9s.client import Client, operations
from h9s.controllers.controller import Controller
from h9s.controllers.decision import Decision

_EVERYTHING = "events"
#: Each batch lists all events anew; so a large one.
_BATCH_SIZE = 500


def decide(
    events: Sequence[core_pb2.Event], *, now: float, ttl_seconds: float, again_after: float
) -> Decision:
    """Delete those that last happened longer ago than `ttl_seconds` (`now`: seconds since 1970), unless
    they happen again meanwhile; look again in `again_after` seconds, or at once if there are more."""
    old = [event for event in events if _last_seen(event) + ttl_seconds < now]
    batch = tuple(
        operations.delete(event, mod_revision=int(event.metadata.resource_version))
        for event in old[:_BATCH_SIZE]
    )
    return Decision(batch, again_after=0.0 if len(old) > _BATCH_SIZE else again_after)


class EventTtlController(Controller[str]):
    """There is one key, for all events together, looked at from time to time."""

    name: ClassVar[str] = "eventttl"
    workers: ClassVar[int] = 1

    def __init__(self, client: Client, *, ttl_seconds: float) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._interval_seconds = min(600.0, max(1.0, ttl_seconds / 50))

    def first_keys(self) -> Iterable[str]:
        """See `Controller.first_keys`."""
        return (_EVERYTHING,)

    async def decide(self, key: str) -> Decision:
        """See `Controller.decide`."""
        del key
        events = (await self._client.list(core_pb2.Event)).items
        return decide(
            events,
            now=self._client.clock.wall(),
            ttl_seconds=self._ttl_seconds,
            again_after=self._interval_seconds,
        )


def _last_seen(event: core_pb2.Event) -> int:
    if event.HasField("last_timestamp"):
        return event.last_timestamp.seconds
    return event.metadata.creation_timestamp.seconds
