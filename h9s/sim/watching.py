"""Watchers of the simulated cluster: they move between replicas, and everything they are told is recorded.

They are served by the apiserver's own hub over each replica's store.
"""

from __future__ import annotations

import asyncio
import random

from h9s._pb import api_pb2
from h9s.apiserver.selection import Selection
from h9s.apiserver.watch_hub import WatchHub
from h9s.errors import CompactedError
from h9s.sim.replicas import ObservedStore, SimReplicas
from h9s.sim.watch_checks import SeenEvent, SeenResponse, SeenStream, SeenWatch
from h9s.sim.witness import PREFIX, key_of

_BOOKMARK_SECONDS = 0.3
_SHORTEST_WAIT = 0.001


class SimHubs:
    """One hub per running replica, made when first needed."""

    def __init__(self, replicas: SimReplicas) -> None:
        self._replicas = replicas
        self._hubs: dict[str, tuple[ObservedStore, WatchHub, asyncio.Task[None]]] = {}

    def of(self, name: str) -> WatchHub | None:
        """The hub of a replica that runs, or None."""
        store = self._replicas.stores.get(name)
        known = self._hubs.get(name)
        if known is not None and known[0] is not store:
            known[2].cancel()
            del self._hubs[name]
            known = None
        if store is None:
            return None
        if known is None:
            hub = WatchHub(store, bookmark_seconds=_BOOKMARK_SECONDS)
            known = self._hubs[name] = (store, hub, self._replicas.loop.create_task(hub.run()))
        return known[1]


class SimWatcher:
    """One watcher of everything below the prefix."""

    def __init__(
        self, name: str, replicas: SimReplicas, hubs: SimHubs, *, rng: random.Random, wants_previous: bool
    ) -> None:
        self._replicas = replicas
        self._hubs = hubs
        self._rng = rng
        self._name = name
        self._wants_previous = wants_previous
        self.relists = 0
        self._begin(0)

    def _begin(self, revision: int) -> None:
        self._watch = SeenWatch(self._name, PREFIX, revision, self._wants_previous)
        self._replicas.witness.watches.append(self._watch)

    async def run(self, *, until: float) -> None:
        """Watch, here and there, until the loop's time reaches `until`."""
        while (now := self._replicas.loop.time()) < until:
            if self._replicas.responsive:
                stay = self._rng.choice((0.05, 0.5, 3.0))
                await self._stay(self._rng.choice(self._replicas.responsive), until=min(until, now + stay))
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))

    async def catch_up(self, revision: int) -> None:
        """Watch until everything up to a revision has come."""
        await self._stay(
            self._rng.choice(self._replicas.members()),
            until=self._replicas.loop.time() + 5.0,
            until_revision=revision,
        )
        if self._watch.revision < revision:
            self._replicas.fail(f"watch {self._name} stays at {self._watch.revision} and not {revision}")

    async def _stay(self, name: str, *, until: float, until_revision: int = 0) -> None:
        """Watch one replica as long as it lives, up to a time or a revision."""
        hub = self._hubs.of(name)
        if hub is None:
            return
        stream = SeenStream(name, self._watch.revision)
        self._watch.streams.append(stream)
        selection = Selection(PREFIX)
        with hub.watch(
            selection, after_revision=stream.after_revision, previous=self._wants_previous
        ) as watcher:
            while (left := until - self._replicas.loop.time()) > _SHORTEST_WAIT and hub is self._hubs.of(
                name
            ):
                try:
                    # Not for ever: who is down or paused says nothing.
                    async with asyncio.timeout(min(left, 0.5)):
                        response = await watcher.next()
                except TimeoutError:
                    continue
                except CompactedError:
                    # It lists again, and begins from there.
                    self.relists += 1
                    if hub is self._hubs.of(name):
                        self._begin(self._replicas.stores[name].revision)
                    return
                if hub is not self._hubs.of(name):
                    # What a process read that had died meanwhile, from a disk that its successor has changed.
                    return
                stream.responses.append(_seen(response))
                if until_revision and response.revision >= until_revision:
                    return


def _seen(response: api_pb2.WatchResponse) -> SeenResponse:
    events = []
    for event in response.events:
        is_deleted = event.type == api_pb2.WatchEvent.DELETED
        events.append(
            SeenEvent(
                revision=event.object.mod_revision,
                key=key_of(event.object.value.value),
                value=None if is_deleted else event.object.value.value,
                previous=event.previous.value.value if event.HasField("previous") else None,
                type=api_pb2.WatchEvent.Type.Name(event.type),
            )
        )
    return SeenResponse(response.revision, tuple(events))
