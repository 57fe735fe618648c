"""What clients did and what they were told: the history that linearizability and exactly-once are judged by.

There is one kind of operation, a conditional transaction: it expects some keys to hold certain values and,
if they do, writes others. A read is one that expects what it found and writes nothing; one that was refused
says that its expectations did not hold. Every written value is unique, so that a value tells its write.

Pure. It knows neither the store nor the API.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

#: What a key holds; None: it does not exist.
Value: TypeAlias = bytes | None


class Fate(Enum):
    """What became of an operation, as its client knows it."""

    #: Its expectations held, and what it writes is written.
    DONE = "done"
    #: Its expectations did not hold; nothing is written.
    REFUSED = "refused"
    #: The store has forgotten whether it did this one, and will not do it.
    EXPIRED = "expired"
    #: It may have been done, may still be done, or never.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One attempt, from the client's call to the answer. Moments count the history's calls and answers."""

    client: str
    invoked: int
    #: Infinite where no answer came.
    returned: float = math.inf
    expected: Mapping[str, Value]
    written: Mapping[str, Value]
    fate: Fate = Fate.UNKNOWN
    #: The revision that a write made or that a read shows; 0 where the client was not told.
    revision: int = 0
    #: Attempts of one request have the same id; empty for reads.
    request: bytes = b""

    def __str__(self) -> str:
        parts = [f"{key} == {_short(value)}" for key, value in self.expected.items()]
        parts += [f"{key} := {_short(value)}" for key, value in self.written.items()]
        at = f" at revision {self.revision}" if self.revision else ""
        return f"{self.client} {', '.join(parts)}: {self.fate.value}{at} [{self.invoked}, {self.returned}]"


class OperationLog:
    """Records operations in the order in which they begin and end. One per run; not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[int, Operation] = {}
        self._done: list[Operation] = []
        self._moment = 0

    def __len__(self) -> int:
        """How many operations there are whose client knows more than nothing, or that may have been done."""
        return len(self._done) + len(self._open)

    def begin(
        self,
        client: str,
        *,
        expected: Mapping[str, Value] | None = None,
        written: Mapping[str, Value] | None = None,
        request: bytes = b"",
    ) -> int:
        """A client is about to send; returns the handle for what becomes of it."""
        self._moment += 1
        self._open[self._moment] = Operation(
            client=client,
            invoked=self._moment,
            expected=dict(expected or {}),
            written=dict(written or {}),
            request=request,
        )
        return self._moment

    def end(
        self, handle: int, fate: Fate, *, revision: int = 0, found: Mapping[str, Value] | None = None
    ) -> None:
        """The answer came. `found` is what a read saw."""
        operation = self._open.pop(handle)
        if fate is Fate.UNKNOWN:
            self._done.append(operation)
            return
        self._moment += 1
        self._done.append(
            replace(
                operation,
                returned=self._moment,
                fate=fate,
                revision=revision,
                expected=operation.expected if found is None else dict(found),
            )
        )

    def forget(self, handle: int) -> None:
        """It was certainly never sent, or it was a read that gave nothing."""
        del self._open[handle]

    def operations(self) -> list[Operation]:
        """Everything so far, by the moment of the call; what is under way is unknown."""
        everything = [*self._done, *self._open.values()]
        return sorted(everything, key=lambda operation: operation.invoked)


def by_request(operations: Iterable[Operation]) -> dict[bytes, list[Operation]]:
    """The attempts of each request."""
    attempts: dict[bytes, list[Operation]] = {}
    for operation in operations:
        if operation.request:
            attempts.setdefault(operation.request, []).append(operation)
    return attempts


def merge_attempts(operations: Iterable[Operation]) -> list[Operation]:
    """One operation per request: it took effect, if ever, after its first attempt began and before its
    first definite answer. Requests that expired and were never open have no effect and are left out."""
    everything = list(operations)
    merged = [operation for operation in everything if not operation.request]
    for attempts in by_request(everything).values():
        invoked = min(attempt.invoked for attempt in attempts)
        answered = [attempt for attempt in attempts if attempt.fate in (Fate.DONE, Fate.REFUSED)]
        if answered:
            first = min(answered, key=lambda attempt: attempt.returned)
            merged.append(replace(first, invoked=invoked))
        elif any(attempt.fate is Fate.UNKNOWN for attempt in attempts):
            merged.append(replace(attempts[0], invoked=invoked, returned=math.inf, fate=Fate.UNKNOWN))
    return sorted(merged, key=lambda operation: operation.invoked)


def _short(value: Value) -> str:
    return "nothing" if value is None else repr(value[:24])[1:]
