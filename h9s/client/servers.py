"""Which apiserver to ask next: the believed leader, the replica read from, and who to avoid.

Pure bookkeeping from what calls have learned. It connects to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from h9s.clock import Clock

#: The shortest and the longest time, in seconds, for which a server that failed is avoided.
_AVOID_SHORTEST = 0.02
_AVOID_LONGEST = 2.0


class Servers:
    """The known apiservers of one client.

    A server that failed is avoided for as long as its failure took to show: one that refuses
    connections costs nothing to try again, one that hangs does. It is tried all the same when all
    have failed, or when another says that it leads: that one has heard from it.
    """

    def __init__(self, seeds: Sequence[str], *, clock: Clock, rng: random.Random) -> None:
        if not seeds:
            raise ValueError("a client needs the address of at least one server")
        self._clock = clock
        self._known = list(dict.fromkeys(seeds))
        self._avoided_until: dict[str, float] = {}
        self._leader = ""
        self._reader = rng.choice(self._known)

    @property
    def known(self) -> tuple[str, ...]:
        """All servers, those learned from others included."""
        return tuple(self._known)

    @property
    def leader(self) -> str:
        """The believed leader, "" if there is none."""
        return self._leader

    def for_writing(self, tried: Collection[str] = ()) -> str | None:
        """The best server for a write among those not in `tried`; None when there are no more."""
        return self._best(self._leader, tried)

    def for_reading(self, tried: Collection[str] = ()) -> str | None:
        """The best server for a read among those not in `tried`; None when there are no more."""
        return self._best(self._reader, tried)

    def redirect(self, refused_by: str, leader: str) -> None:
        """`refused_by` does not lead; it named `leader` ("" if it knows none)."""
        if leader and leader != refused_by:
            if leader not in self._known:
                self._known.append(leader)
            self._leader = leader
            self._avoided_until.pop(leader, None)
        elif self._leader == refused_by:
            self._leader = ""

    def leads(self, server: str) -> None:
        """`server` has done what only a leader does."""
        self._leader = server
        self._avoided_until.pop(server, None)

    def answered(self, server: str) -> None:
        """`server` has answered a read."""
        self._reader = server
        self._avoided_until.pop(server, None)

    def failed(self, server: str, *, after_seconds: float) -> None:
        """`server` gave no answer; that took `after_seconds` to show."""
        avoid = min(max(after_seconds, _AVOID_SHORTEST), _AVOID_LONGEST)
        self._avoided_until[server] = self._clock.monotonic() + avoid
        if self._leader == server:
            self._leader = ""
        if self._reader == server:
            self._reader = self._after(server)

    def _best(self, preferred: str, tried: Collection[str]) -> str | None:
        start = self._known.index(preferred or self._reader)
        order = self._known[start:] + self._known[:start]
        candidates = [server for server in order if not self._is_avoided(server)] or order
        return next((server for server in candidates if server not in tried), None)

    def _is_avoided(self, server: str) -> bool:
        return self._clock.monotonic() < self._avoided_until.get(server, 0.0)

    def _after(self, server: str) -> str:
        return self._known[(self._known.index(server) + 1) % len(self._known)]
