"""Linearizable reads: from which index on a replica's state shows everything acknowledged so far.

Raft's ReadIndex (section 6.4 of the dissertation): the leader notes its commit index, confirms by
a round of heartbeats that a majority still follows it, and only then is the index good. It has to
have applied an entry of its own term first. A follower asks the leader. Readers that arrive while a
round is under way share the next one: the index must be noted after they came. Questions and answers
carry no term: it may not be on disk yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from h9s._pb import log_pb2
from h9s.raft.engine import Engine
from h9s.raft.guard import GuardedTransport

Waiter = asyncio.Future[int]


@dataclass
class _Round:
    """One confirmation under way, led from here or asked of `leader_id`."""

    leader_id: str
    term: int
    expires_at: float
    waiters: list[Waiter]
    read_index: int = 0
    request: int = 0
    #: Which members it is about (see `Engine.configurations`).
    configurations: int = 0
    #: Which sequence each follower has to answer.
    required: dict[str, int] = field(default_factory=dict)


class ReadIndex:
    """Answers `request()` with a read index, as long as somebody leads; callers bring the timeout."""

    def __init__(
        self,
        *,
        engine: Engine,
        guard: GuardedTransport,
        send: Callable[[str, log_pb2.PeerMessage], bool],
        monotonic: Callable[[], float],
        create_future: Callable[[], Waiter],
        round_timeout: float,
        first_request: int = 0,
    ) -> None:
        """`first_request`: to be random, or an answer to what this replica asked before it was restarted
        might pass for the answer to a later question."""
        self._engine = engine
        self._guard = guard
        self._send = send
        self._monotonic = monotonic
        self._create_future = create_future
        self._round_timeout = round_timeout
        self._waiting: list[Waiter] = []
        self._round: _Round | None = None
        self._requests = first_request

    def request(self) -> Waiter:
        """A future read index. Cancel it to give up."""
        waiter = self._create_future()
        self._waiting.append(waiter)
        return waiter

    def advance(self) -> None:
        """Finish, give up or start a round, as the state of things allows. Called at every tick."""
        if self._round is not None and self._is_lost(self._round):
            self._waiting = self._round.waiters + self._waiting
            self._round = None
        if self._round is not None and self._engine.is_leader and self._is_confirmed(self._round):
            self._finish(self._round, self._round.read_index)
        if self._round is None and self._waiting:
            self._waiting = [waiter for waiter in self._waiting if not waiter.done()]
            if self._waiting:
                self._start()

    def answer(self, name: str, request: int) -> None:
        """A follower asks for a read index."""

        def respond(waiter: Waiter) -> None:
            response = log_pb2.PeerMessage()
            response.read_index_response.request = request
            response.read_index_response.read_index = 0 if waiter.cancelled() else waiter.result()
            self._send(name, response)

        waiter = self.request()
        waiter.add_done_callback(respond)
        if not self._engine.is_leader:
            waiter.cancel()

    def take_response(self, name: str, request: int, read_index: int) -> None:
        """The leader's answer; 0 means that it could not confirm."""
        current = self._round
        if current is None or current.leader_id != name or current.request != request:
            return
        if read_index:
            self._finish(current, read_index)
        else:
            current.expires_at = 0.0

    def _start(self) -> None:
        engine = self._engine
        leader_id = engine.leader_id
        if not leader_id:
            return
        expires_at = self._monotonic() + self._round_timeout
        current = _Round(leader_id, engine.term, expires_at, self._waiting)
        current.configurations = engine.configurations
        if engine.is_leader:
            if engine.own_term_index is None or engine.applied_index < engine.own_term_index:
                return
            current.read_index = engine.commit_index
            names = [member.id for member in engine.others]
            current.required = {name: self._guard.last_sequence(name) + 1 for name in names}
            engine.broadcast()
        else:
            self._requests += 1
            current.request = self._requests
            message = log_pb2.PeerMessage()
            message.read_index_request.request = current.request
            if not self._send(leader_id, message):
                return
        self._waiting = []
        self._round = current
        if engine.is_leader and self._is_confirmed(current):  # alone in its cluster
            self._finish(current, current.read_index)

    def _is_lost(self, current: _Round) -> bool:
        engine = self._engine
        moved = (current.leader_id, current.term, current.configurations) != (
            engine.leader_id,
            engine.term,
            engine.configurations,
        )
        return moved or self._monotonic() >= current.expires_at

    def _is_confirmed(self, current: _Round) -> bool:
        acknowledged = self._guard.acknowledged_sequence
        votes = 1 + sum(acknowledged(name) >= sequence for name, sequence in current.required.items())
        return votes > (len(current.required) + 1) // 2

    def _finish(self, current: _Round, read_index: int) -> None:
        self._round = None
        for waiter in current.waiters:
            if not waiter.done():
                waiter.set_result(read_index)
