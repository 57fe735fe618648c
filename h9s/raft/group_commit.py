"""Many writers, one log entry: transactions that arrive while entries are under way share the next one.

One message and one sync then serve all of them. Whoever submitted learns the outcome when the entry
is applied; what is under way when leadership is lost is open, what was not proposed was not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from h9s._pb import log_pb2
from h9s.clock import Clock, wall_ms
from h9s.errors import H9sError, NotLeaderError, OverloadedError, TooLargeError, UnavailableError
from h9s.raft.metrics import GROUP_SIZE
from h9s.store.model import Outcome
from h9s.store.state_machine import FORMAT_VERSION

#: Transactions that are worth an entry of their own while another is under way.
_FULL_GROUP = 128
#: Turns of the event loop without a new writer after which nobody else is expected. Those that were answered
#: together come back one after the other, each over several turns.
_QUIET_TURNS = 12


class GroupLimits(Protocol):
    """How much may wait, share an entry, and be under way."""

    @property
    def max_transaction_bytes(self) -> int:
        """The largest transaction; also about the largest entry."""
        ...

    @property
    def max_pending(self) -> int:
        """Transactions that wait."""
        ...

    @property
    def max_pending_bytes(self) -> int:
        """Their sizes together."""
        ...

    @property
    def max_group(self) -> int:
        """Transactions in one entry."""
        ...

    @property
    def max_entries_in_flight(self) -> int:
        """Entries of this proposer that are under way at once."""
        ...


class _Pending(NamedTuple):
    transaction: log_pb2.Transaction
    size: int
    future: asyncio.Future[Outcome]


class _Gathering:
    """Whether the next entry waits for more writers.

    It does while the last one was shared and more keep coming: writers that were answered together write
    again together. A writer that is alone never waits.
    """

    def __init__(self) -> None:
        self._was_shared = False
        self._seen = 0
        self._quiet_turns = 0

    def goes_on(self, pending: int) -> bool:
        """Asked once a turn of the event loop, with how many wait."""
        if not self._was_shared or pending >= _FULL_GROUP:
            return False
        if pending > self._seen:
            self._seen, self._quiet_turns = pending, 0
        else:
            self._quiet_turns += 1
        return self._quiet_turns < _QUIET_TURNS

    def ended(self, size: int) -> None:
        """An entry of that many transactions begins."""
        self._was_shared = size > 1
        self._seen = self._quiet_turns = 0


class GroupCommit:
    """The transactions of one proposer. `refusal` says why nothing may be proposed now, if so."""

    def __init__(
        self,
        *,
        proposer: int,
        propose: Callable[[bytes], None],
        refusal: Callable[[], NotLeaderError | None],
        limits: GroupLimits,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._proposer = proposer
        self._propose = propose
        self._refusal = refusal
        self._limits = limits
        self._clock = clock
        self._loop = loop
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._flush_is_scheduled = False
        self._gathering = _Gathering()
        self._in_flight: dict[int, list[asyncio.Future[Outcome]]] = {}
        self._sequence = 0

    def submit(self, transaction: log_pb2.Transaction) -> asyncio.Future[Outcome]:
        """Queue a transaction. Raises NotLeaderError, TooLargeError, OverloadedError: nothing was done."""
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        size, limit = transaction.ByteSize(), self._limits.max_transaction_bytes
        if size > limit:
            raise TooLargeError(f"the transaction has {size} bytes; at most {limit} are allowed")
        limits = self._limits
        if len(self._pending) >= limits.max_pending or self._pending_bytes >= limits.max_pending_bytes:
            raise OverloadedError(f"{len(self._pending)} writes are waiting already; try again later")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._pending.append(_Pending(transaction, size, future))
        self._pending_bytes += size
        self._schedule_flush()
        return future

    @property
    def pending(self) -> int:
        """How many transactions wait."""
        return len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """How large they are together."""
        return self._pending_bytes

    def compact(self, revision: int) -> None:
        """Propose that everybody forgets the history up to `revision`."""
        self._propose_entry([], compact_revision=revision)

    def raise_feature_level(self, level: int) -> None:
        """Propose that from here on every replica understands `level`."""
        self._propose_entry([], feature_level=level)

    def applied(self, entry: log_pb2.LogEntry, outcomes: Sequence[Outcome]) -> None:
        """An entry was applied; if it is one of these, tell its owners."""
        if entry.proposer != self._proposer:
            return
        futures = self._in_flight.pop(entry.sequence, None)
        if futures is not None:
            for future, outcome in zip(futures, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
        if self._pending:
            self._schedule_flush()

    def reject_pending(self, error: NotLeaderError) -> None:
        """Nothing was done for those that wait."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        _fail([item.future for item in pending], error)

    def abandon(self, error: UnavailableError) -> None:
        """Entries under way may still be applied, under another leader; their ids will tell."""
        in_flight, self._in_flight = self._in_flight, {}
        for futures in in_flight.values():
            _fail(futures, error)

    def _schedule_flush(self) -> None:
        if not self._flush_is_scheduled:
            self._flush_is_scheduled = True
            # After whatever else arrives in this turn of the loop.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_scheduled = False
        refusal = self._refusal()
        if refusal is not None:
            self.reject_pending(refusal)
        if self._pending and not self._in_flight and self._gathering.goes_on(len(self._pending)):
            self._schedule_flush()
            return
        self._drop_abandoned()
        while self._pending and self._may_propose():
            group = self._next_group()
            self._gathering.ended(len(group))
            self._propose_entry(group)

    def _drop_abandoned(self) -> None:
        """Nothing is proposed for those who have given up waiting: under load their next attempts would
        find the last ones in their way."""
        if any(pending.future.done() for pending in self._pending):
            self._pending = [pending for pending in self._pending if not pending.future.done()]
            self._pending_bytes = sum(pending.size for pending in self._pending)

    def _may_propose(self) -> bool:
        """While an entry is under way only a full group may follow it: what each entry costs in
        messages and syncs is worth waiting for company."""
        in_flight = len(self._in_flight)
        is_full = len(self._pending) >= min(_FULL_GROUP, self._limits.max_group)
        return in_flight == 0 or (is_full and in_flight < self._limits.max_entries_in_flight)

    def _next_group(self) -> list[_Pending]:
        size = count = 0
        for pending in self._pending[: self._limits.max_group]:
            size += pending.size
            if count and size > self._limits.max_transaction_bytes:
                break
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        self._pending_bytes -= sum(pending.size for pending in group)
        return group

    def _propose_entry(
        self, group: Sequence[_Pending], *, compact_revision: int = 0, feature_level: int = 0
    ) -> None:
        self._sequence += 1
        entry = log_pb2.LogEntry(
            format_version=FORMAT_VERSION,
            time_ms=wall_ms(self._clock),
            proposer=self._proposer,
            sequence=self._sequence,
            transactions=[item.transaction for item in group],
            compact_revision=compact_revision,
            feature_level=feature_level,
        )
        self._in_flight[self._sequence] = [item.future for item in group]
        GROUP_SIZE.observe(len(group))
        self._propose(entry.SerializeToString())


def _fail(futures: Sequence[asyncio.Future[Outcome]], error: H9sError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
