"""Follows the writers' objects on a replica that does not lead, and keeps every event."""

from __future__ import annotations

import contextlib

from cluster.failover.evidence import WatchedEvent
from h9s._pb import coordination_pb2
from h9s.client.client import Client


class Watcher:
    """One watch, kept up by its client through whatever happens to the replica it is on."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        self.events: list[WatchedEvent] = []
        #: Everything up to this revision has been seen.
        self.revision = 0
        self._client = client
        self._namespace = namespace

    async def run(self, *, after_revision: int) -> None:
        """Collect until cancelled. Raises H9sError if the watch cannot go on."""
        self.revision = after_revision
        batches = self._client.watch(coordination_pb2.Lease, self._namespace, after_revision=after_revision)
        async with contextlib.aclosing(batches):
            async for batch in batches:
                self.events.extend(
                    WatchedEvent(
                        kind=event.type.name,
                        object_name=event.object.metadata.name,
                        revision=int(event.object.metadata.resource_version),
                    )
                    for event in batch.events
                )
                self.revision = batch.revision
