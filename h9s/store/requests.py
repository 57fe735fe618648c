"""The memory that makes retried writes happen once.

Every transaction carries the client's request id. The first outcome is remembered and given again
to later attempts. Memory is bounded by age and count; what is forgotten raises a floor, and an id
at or below the floor that is not remembered is refused, because it may have been executed. So no id
is ever executed twice, and a refused one can be told apart from an unknown one by its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from h9s.store.model import Outcome

#: Part of the replicated state's definition: every replica must forget the same ids.
MAX_AGE_MS = 10 * 60 * 1000
MAX_REMEMBERED = 200_000
#: A client's clock may be this far ahead of the state machine's. Small, so that one fast clock
#: cannot raise the floor above the ids of everybody else.
MAX_AHEAD_MS = 10_000


class Remembered(NamedTuple):
    """An executed request's id and its first outcome."""

    nonce: bytes
    issued_at_ms: int
    outcome: Outcome


class RequestTable:
    """The executed requests, oldest first."""

    def __init__(self, *, max_remembered: int = MAX_REMEMBERED, max_age_ms: int = MAX_AGE_MS) -> None:
        self._by_nonce: dict[bytes, Remembered] = {}
        self._max_remembered = max_remembered
        self._max_age_ms = max_age_ms
        #: The latest issue time among the forgotten ids.
        self.floor_ms = 0

    def __len__(self) -> int:
        return len(self._by_nonce)

    def __iter__(self) -> Iterator[Remembered]:
        return iter(self._by_nonce.values())

    def recall(self, nonce: bytes, issued_at_ms: int) -> Outcome | None:
        """The first outcome of this id, or None if it is not remembered."""
        known = self._by_nonce.get(nonce)
        return known.outcome if known is not None and known.issued_at_ms == issued_at_ms else None

    def refusal(self, issued_at_ms: int, *, now_ms: int) -> str:
        """Why an id that is not remembered must not be executed; empty if it may be."""
        oldest = max(self.floor_ms, now_ms - self._max_age_ms)
        if issued_at_ms <= oldest:
            age_ms, remembered_ms = now_ms - issued_at_ms, now_ms - oldest
            return f"the request id is {age_ms} ms old; ids are remembered for {remembered_ms} ms"
        if issued_at_ms > now_ms + MAX_AHEAD_MS:
            return f"the request id is {issued_at_ms - now_ms} ms ahead of the cluster's clock"
        return ""

    def remember(self, nonce: bytes, issued_at_ms: int, outcome: Outcome) -> None:
        """Remember an executed id's outcome."""
        self._by_nonce[nonce] = Remembered(nonce, issued_at_ms, outcome)

    def replace(self, remembered: Iterable[Remembered], *, floor_ms: int) -> None:
        """Become the table that was captured with this floor."""
        self._by_nonce = {entry.nonce: entry for entry in remembered}
        self.floor_ms = floor_ms

    def forget_old(self, *, now_ms: int) -> None:
        """Drop what is too old or too much, oldest execution first, and raise the floor."""
        horizon = now_ms - self._max_age_ms
        while self._by_nonce:
            nonce = next(iter(self._by_nonce))
            oldest = self._by_nonce[nonce]
            if len(self._by_nonce) <= self._max_remembered and oldest.issued_at_ms > horizon:
                return
            del self._by_nonce[nonce]
            self.floor_ms = max(self.floor_ms, oldest.issued_at_ms)
