"""Writes without pause, remembering what was acknowledged and when.

Every write creates an object under a name that the cluster chooses (generateName), so a write done
twice leaves two objects, and nothing but the request id keeps that from happening.
"""

from __future__ import annotations

import asyncio

from cluster.failover.evidence import Acknowledgement
from h9s._pb import coordination_pb2
from h9s.client.client import Client
from h9s.clock import Clock
from h9s.errors import H9sError


class Writer:
    """One sequential writer: the next write begins when the last one was answered."""

    def __init__(self, client: Client, *, name: str, namespace: str, interval: float, clock: Clock) -> None:
        self.acknowledged: list[Acknowledgement] = []
        self.unanswered: list[str] = []
        self._client = client
        self._name = name
        self._namespace = namespace
        self._interval = interval
        self._clock = clock
        self._stopping = False

    def stop(self) -> None:
        """Begin no further write; `run` returns once the last one was answered."""
        self._stopping = True

    async def run(self) -> None:
        """Write until `stop`, `interval` seconds from the start of one write to the next, if it can."""
        number = 0
        due = self._clock.monotonic()
        while not self._stopping:
            number += 1
            await self._write(f"{self._name}-{number}")
            due = max(due + self._interval, self._clock.monotonic() - self._interval)
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))

    async def _write(self, write: str) -> None:
        lease = coordination_pb2.Lease()
        lease.metadata.generate_name = f"{self._name}-"
        lease.metadata.namespace = self._namespace
        lease.spec.holder_identity = write
        started = self._clock.monotonic()
        try:
            stored = await self._client.create(lease)
        except H9sError as error:
            self.unanswered.append(f"{write}: {error.message}")
            return
        self.acknowledged.append(
            Acknowledgement(
                write=write,
                object_name=stored.metadata.name,
                revision=int(stored.metadata.resource_version),
                started=started,
                acknowledged=self._clock.monotonic(),
            )
        )
