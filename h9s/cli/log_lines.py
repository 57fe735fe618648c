"""Following a log over broken connections: which lines are new. Pure.

While it follows, howbectl asks for every line's timestamp: it tells where to go on when the stream
breaks and has to be opened again through another replica. Lines are whole: a stream may be cut
anywhere, but what is printed twice or torn would be worse than a moment's delay.
"""

from __future__ import annotations

import re
from datetime import datetime

_STAMPED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
#: How much earlier than the last line to start again, in seconds: machines' clocks differ.
_OVERLAP = 60.0


class LogLines:
    """Turns the chunks of one log, sent with timestamps, into its lines, each once."""

    def __init__(self, *, keep_timestamps: bool) -> None:
        self._keep_timestamps = keep_timestamps
        self._partial = b""
        #: Time of the last line given out, nanoseconds since 1970; 0 before the first.
        self._last = 0
        self._resumed_at = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete with this chunk, each with its line end."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [line for raw in lines if (line := self._accept(raw + b"\n")) is not None]

    def end(self) -> list[bytes]:
        """What is left when the log has ended."""
        rest, self._partial = self._partial, b""
        line = self._accept(rest) if rest else None
        return [] if line is None else [line]

    def resume(self, now: float) -> int | None:
        """The stream has broken at `now` (seconds since 1970): how many seconds back the next one has
        to begin, None for the very beginning. Lines that were given out already are dropped from it."""
        self._partial = b""
        self._resumed_at = self._last
        if not self._last:
            return None
        return int(max(0.0, now - self._last / 1e9) + _OVERLAP)

    def _accept(self, line: bytes) -> bytes | None:
        match = _STAMPED.match(line)
        if match is None:
            return line
        moment = _nanoseconds(match)
        if moment <= self._resumed_at:
            return None
        self._last = max(self._last, moment)
        return line if self._keep_timestamps else line[match.end() :]


def _nanoseconds(match: re.Match[bytes]) -> int:
    zone = match[3].replace(b"Z", b"+00:00")
    seconds = int(datetime.fromisoformat((match[1] + zone).decode("ascii")).timestamp())
    return seconds * 1_000_000_000 + int((match[2] or b"0").ljust(9, b"0"))
