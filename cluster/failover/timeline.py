"""The live picture: who leads, how many writes go through, and what was done to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cluster.failover.writer import Writer
from cluster.local.probes import leader_of
from h9s.client.client import Client
from h9s.clock import Clock

_LINE_SECONDS = 0.5
_BAR_WIDTH = 30


def line(*, seconds: float, leader: str, term: int, rate: float, full_rate: float) -> str:
    """One line: the time, the leader, writes per second as a number and as a bar."""
    who = f"{leader} leads, term {term}" if leader else "no leader"
    bar = "█" * round(_BAR_WIDTH * min(1.0, rate / full_rate))
    return f"{seconds:6.1f} s  {who:<20}  {rate:5.0f} writes/s  {bar}".rstrip()


class Timeline:
    """Prints a line every half second, and what it is told in between."""

    def __init__(
        self,
        client: Client,
        *,
        servers: Sequence[str],
        writers: Sequence[Writer],
        full_rate: float,
        out: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._client = client
        self._servers = servers
        self._writers = writers
        self._full_rate = full_rate
        self._out = out
        self._clock = clock
        self._begin = clock.monotonic()

    def note(self, text: str) -> None:
        """Say what has just happened."""
        self._out(f"{self._clock.monotonic() - self._begin:6.1f} s  -- {text}")

    async def run(self) -> None:
        """Print until cancelled."""
        before, then = self._writes(), self._clock.monotonic()
        while True:
            await asyncio.sleep(_LINE_SECONDS)
            leader = await leader_of(self._client, self._servers)
            now, writes = self._clock.monotonic(), self._writes()
            self._out(
                line(
                    seconds=now - self._begin,
                    leader=leader.replica_id if leader else "",
                    term=leader.term if leader else 0,
                    rate=(writes - before) / (now - then),
                    full_rate=self._full_rate,
                )
            )
            before, then = writes, now

    def _writes(self) -> int:
        return sum(len(writer.acknowledged) for writer in self._writers)
