"""Request ids: what makes a write that is tried again the same write."""

from __future__ import annotations

import random

from h9s._pb import api_pb2
from h9s.clock import Clock, wall_ms

_NONCE_BYTES = 16


class RequestIds:
    """Chooses request ids. Servers refuse ids from too far back, by their own clock; this keeps the
    difference to it, once a server has told."""

    def __init__(self, *, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._offset_ms = 0

    def new(self) -> api_pb2.RequestId:
        """An id that nobody else has."""
        return api_pb2.RequestId(
            nonce=self._rng.randbytes(_NONCE_BYTES), issued_at_ms=wall_ms(self._clock) + self._offset_ms
        )

    def correct(self, server_time_ms: int) -> None:
        """A server said that its clock shows `server_time_ms` now."""
        self._offset_ms = server_time_ms - wall_ms(self._clock)
