"""A store without Raft: the pure state machine behind the `Store` protocol, always the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from h9s._pb import cluster_pb2, log_pb2
from h9s.clock import Clock, wall_ms
from h9s.errors import NotLeaderError
from h9s.store.model import Change, Outcome
from h9s.store.past import Past
from h9s.store.protocol import Leadership, View
from h9s.store.snapshot import StateSnapshot
from h9s.store.state_machine import FORMAT_VERSION, StateMachine
from h9s.testing.memory_archive import MemoryArchive

T = TypeVar("T")


class MemoryStore:
    """Applies what was proposed in one turn of the event loop at the end of it, as one entry.

    `set_leadership` lets a test take the leadership away, `hold` keep proposals under way.
    """

    def __init__(self, *, clock: Clock, replica_id: str = "r1", api_address: str = "") -> None:
        self._clock = clock
        self._machine = StateMachine()
        #: What is not in memory any more.
        self.archive: MemoryArchive | None = None
        self._change_waiters: list[asyncio.Future[None]] = []
        self._pending: list[tuple[log_pb2.Transaction, asyncio.Future[Outcome]]] = []
        self._held = False
        self._callbacks: list[Callable[[Leadership], None]] = []
        self._leadership = Leadership(replica_id, "leader", replica_id, api_address, 1, ready=True)

    @property
    def revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.revision

    def require_current(self) -> None:
        """See `protocol.Store`: it always is."""

    @property
    def compact_revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.history.compact_revision

    @property
    def recent_revision(self) -> int:
        """See `protocol.Store`."""
        return self._machine.history.recent_revision

    async def look_back(self, work: Callable[[Past], T]) -> T:
        """See `protocol.Store`."""
        return work(Past(self._machine, self.archive))

    def archive_all(self) -> None:
        """Hold no history in memory any more, all of it in the archive."""
        history = self._machine.history
        if self.archive is None:
            self.archive = MemoryArchive()
        self.archive.append(history.after(max(self.archive.last_revision, history.recent_revision)))
        history.release(self._machine.revision)

    def view(self, revision: int = 0) -> View:
        """See `protocol.Store`."""
        return self._machine.view(revision)

    def changes(self, after_revision: int, *, limit: int = 1000) -> list[tuple[int, tuple[Change, ...]]]:
        """See `protocol.Store`."""
        records = self._machine.history.after(after_revision, limit=limit)
        return [(record.revision, record.changes) for record in records]

    def capture(self) -> StateSnapshot:
        """See `protocol.Store`."""
        return self._machine.capture()

    async def wait_for_change(self, after_revision: int) -> None:
        """See `protocol.Store`."""
        while self.revision <= after_revision:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._change_waiters.append(waiter)
            await waiter

    async def read_barrier(self, *, timeout: float) -> None:
        """See `protocol.Store`."""

    async def propose(self, transaction: log_pb2.Transaction, *, timeout: float) -> Outcome:  # noqa: ARG002
        """See `protocol.Store`."""
        return await self.submit(transaction)

    def submit(self, transaction: log_pb2.Transaction) -> asyncio.Future[Outcome]:
        """See `ReplicatedStore.submit`."""
        if self._leadership.role != "leader":
            raise NotLeaderError(
                "this replica does not lead", leader_address=self._leadership.leader_api_address
            )
        loop = asyncio.get_running_loop()
        if not self._pending:
            loop.call_soon(self._flush)
        future: asyncio.Future[Outcome] = loop.create_future()
        self._pending.append((transaction, future))
        return future

    def hold(self) -> None:
        """Leave what is proposed from now on under way until `release`."""
        self._held = True

    def release(self) -> None:
        """Apply what was held."""
        self._held = False
        self._flush()

    def fail_pending(self, error: Exception) -> None:
        """Lose what is held, as a leader does that is one no more."""
        pending, self._pending = self._pending, []
        for _, future in pending:
            future.set_exception(error)

    async def apply(self, transaction: log_pb2.Transaction, *, compact_revision: int = 0) -> Outcome:
        """Apply at once; `compact_revision` also drops history up to it."""
        (outcome,) = self._apply([transaction], compact_revision=compact_revision)
        return outcome

    def _flush(self) -> None:
        if self._held or not self._pending:
            return
        pending, self._pending = self._pending, []
        outcomes = self._apply([transaction for transaction, _ in pending])
        for (_, future), outcome in zip(pending, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    def _apply(self, transactions: list[log_pb2.Transaction], *, compact_revision: int = 0) -> list[Outcome]:
        entry = log_pb2.LogEntry(
            format_version=FORMAT_VERSION,
            time_ms=wall_ms(self._clock),
            transactions=transactions,
            compact_revision=compact_revision,
        )
        outcomes = self._machine.apply(entry)
        waiters, self._change_waiters = self._change_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return outcomes

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
