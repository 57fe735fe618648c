"""Watchers that move from replica to replica, and everything they were told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing

from h9s._pb import api_pb2, coordination_pb2
from h9s.api.objects import from_object
from h9s.client import operations as ops
from h9s.client.transport import LIST, WATCH, Transport
from h9s.errors import CompactedError, H9sError
from h9s.sim.watch_checks import SeenEvent, SeenResponse, SeenStream, SeenWatch
from tests.robustness.traffic import held_by


def seen_response(response: api_pb2.WatchResponse) -> SeenResponse:
    """A response as the checks want it: an object is its name and what it holds."""
    events = []
    for event in response.events:
        one = from_object(event.object)
        assert isinstance(one, coordination_pb2.Lease)
        previous = None
        if event.HasField("previous"):
            before = from_object(event.previous)
            assert isinstance(before, coordination_pb2.Lease)
            previous = held_by(before)
        is_deleted = event.type == api_pb2.WatchEvent.DELETED
        events.append(
            SeenEvent(
                revision=event.object.mod_revision,
                key=one.metadata.name,
                value=None if is_deleted else held_by(one),
                previous=previous,
                type=api_pb2.WatchEvent.Type.Name(event.type),
            )
        )
    return SeenResponse(response.revision, tuple(events))


class Watcher:
    """One watcher. It stays a while with a replica, or until that one is gone, and goes on elsewhere."""

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        after_revision: int,
        addresses: Mapping[str, str],
        transport: Transport,
        rng: random.Random,
        wants_previous: bool,
    ) -> None:
        self.watches = [SeenWatch(name, "", after_revision, wants_previous)]
        self._namespace = namespace
        self._addresses = addresses
        self._transport = transport
        self._rng = rng
        self.relists = 0

    @property
    def revision(self) -> int:
        """Up to where it has everything."""
        return self.watches[-1].revision

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.stay(
                self._rng.choice(list(self._addresses)), seconds=self._rng.choice((0.1, 0.5, 3.0))
            )
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))

    async def stay(self, replica: str, *, seconds: float, until_revision: int = 0) -> None:
        """Watch one replica for a while, or until everything up to a revision has come."""
        watch = self.watches[-1]
        stream = SeenStream(replica, watch.revision)
        watch.streams.append(stream)
        request = api_pb2.WatchRequest(
            key=ops.key_of(coordination_pb2.Lease, "", self._namespace),
            after_revision=stream.after_revision,
            previous=watch.wants_previous,
        )
        try:
            async with asyncio.timeout(seconds):
                responses = self._transport.stream(self._addresses[replica], WATCH, request)
                async with aclosing(responses):
                    async for response in responses:
                        stream.responses.append(seen_response(response))
                        if until_revision and response.revision >= until_revision:
                            return
        except TimeoutError:
            pass
        except CompactedError:
            # It would list again; a new watch begins where that left off.
            self.relists += 1
            await self._begin_anew(replica)
        except H9sError:
            pass

    async def _begin_anew(self, replica: str) -> None:
        key = ops.key_of(coordination_pb2.Lease, "", self._namespace)
        try:
            listing = await self._transport.unary(
                self._addresses[replica], LIST, api_pb2.ListRequest(key=key, limit=1), timeout=2.0
            )
        except H9sError:
            return
        old = self.watches[-1]
        self.watches.append(SeenWatch(old.watcher, old.prefix, listing.revision, old.wants_previous))
