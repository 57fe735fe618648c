"""A store without Raft: the pure state machine behind the `Store` protocol, always the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from h9s._pb import cluster_pb2, log_pb2
from h9s.clock import Clock, wall_ms
from h9s.store.model import Change, Outcome
from h9s.store.protocol import Leadership, View
from h9s.store.state_machine import FORMAT_VERSION, StateMachine


class MemoryStore:
    """Applies every proposal at once. `set_leadership` lets a test take it away."""

    def __init__(self, *, clock: Clock, replica_id: str = "r1", api_address: str = "") -> None:
        self._clock = clock
        self._machine = StateMachine()
        self._changed = asyncio.Condition()
        self._callbacks: list[Callable[[Leadership], None]] = []
        self._leadership = Leadership(replica_id, "leader", replica_id, api_address, 1, ready=True)

    @property
    def revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.revision

    @property
    def compact_revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.history.compact_revision

    def view(self, revision: int = 0) -> View:
        """See `protocol.Store`."""
        return self._machine.view(revision)

    def changes(self, after_revision: int, *, limit: int = 1000) -> list[tuple[int, tuple[Change, ...]]]:
        """See `protocol.Store`."""
        records = self._machine.history.after(after_revision, limit=limit)
        return [(record.revision, record.changes) for record in records]

    async def wait_for_change(self, after_revision: int) -> None:
        """See `protocol.Store`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.revision > after_revision)

    async def read_barrier(self, *, timeout: float) -> None:
        """See `protocol.Store`."""

    async def propose(self, transaction: log_pb2.Transaction, *, timeout: float) -> Outcome:  # noqa: ARG002
        """See `protocol.Store`."""
        return await self.apply(transaction)

    async def apply(self, transaction: log_pb2.Transaction, *, compact_revision: int = 0) -> Outcome:
        """Apply at once; `compact_revision` also drops history up to it."""
        entry = log_pb2.LogEntry(
            format_version=FORMAT_VERSION,
            time_ms=wall_ms(self._clock),
            transactions=[transaction],
            compact_revision=compact_revision,
        )
        (outcome,) = self._machine.apply(entry)
        async with self._changed:
            self._changed.notify_all()
        return outcome

    def leadership(self) -> Leadership:
        """See `protocol.Store`."""
        return self._leadership

    def on_leadership_change(self, callback: Callable[[Leadership], None]) -> None:
        """See `protocol.Store`."""
        self._callbacks.append(callback)

    def set_leadership(self, leadership: Leadership) -> None:
        """Pretend that the leadership changed."""
        self._leadership = leadership
        for callback in self._callbacks:
            callback(leadership)

    def status(self) -> cluster_pb2.ClusterStatusResponse:
        """See `protocol.Store`."""
        return cluster_pb2.ClusterStatusResponse(
            replica_id=self._leadership.replica_id,
            role=self._leadership.role,
            leader_id=self._leadership.leader_id,
            term=self._leadership.term,
            revision=self.revision,
            compact_revision=self.compact_revision,
            objects=len(self._machine),
        )
