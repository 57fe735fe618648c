"""A leader gives its leadership to a voter that has everything (section 3.10 of the Raft dissertation)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from h9s._pb import log_pb2
from h9s.raft.engine import Engine

log = logging.getLogger(__name__)


class HandOver:
    """One replica's handing over, at most one at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        send: Callable[[str, log_pb2.PeerMessage], bool],
        is_connected: Callable[[str], bool],
        wake: Callable[[], None],
        create_future: Callable[[], asyncio.Future[None]],
    ) -> None:
        self._engine = engine
        self._send = send
        self._is_connected = is_connected
        self._wake = wake
        self._create_future = create_future
        self._target = ""
        self._must_name = False
        self._until_known = False
        self._given: asyncio.Future[None] | None = None

    async def run(self, *, target: str = "", timeout: float, until_known: bool = False) -> bool:
        """Give the leadership to `target`, or to any voter that has everything; whether somebody took it.

        Nothing must be proposed meanwhile. Gives up after `timeout` seconds. `until_known`: also wait until
        the new leader has been heard from.
        """
        self._until_known = until_known
        self._given = given = self._create_future()
        self._target, self._must_name = target, True
        self._wake()
        try:
            async with asyncio.timeout(timeout):
                await given
        except TimeoutError:
            log.warning("no replica took the leadership over within %g s", timeout)
            return False
        finally:
            if self._given is given:
                self._given, self._must_name = None, False
        return True

    def advance(self) -> None:
        """Name the successor once everything is applied here and with it. Called at every tick."""
        if self._given is None:
            return
        if not self._engine.is_leader:
            is_over = bool(self._engine.leader_id) or not self._until_known
            if is_over and not self._given.done():
                self._given.set_result(None)
        elif self._must_name and self._engine.applied_index == self._engine.last_index:
            self._name_successor()

    def _name_successor(self) -> None:
        last = self._engine.last_index
        for voter in self._engine.others:
            name = str(voter.id)
            is_wanted = self._target in ("", name) and self._is_connected(name)
            if is_wanted and self._engine.match_index(name) == last:
                message = log_pb2.PeerMessage(term=self._engine.term)
                message.timeout_now.SetInParent()
                self._must_name = not self._send(name, message)
                return
