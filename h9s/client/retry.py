"""When to try again, and when to stop: one policy for everything in the client.

Exponential back-off with jitter. The first waits are short, because a new leader is usually there
within a few tenths of a second and a long sleep would be all that the user notices.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from h9s.errors import FutureRevisionError, H9sError, TimeoutExpiredError


@dataclass(frozen=True)
class RetryPolicy:
    """Settings; all times in seconds."""

    #: The first wait, the factor from each wait to the next, and the longest wait.
    initial: float = 0.01
    factor: float = 1.2
    maximum: float = 1.0
    #: Each wait is multiplied by a random factor between 1 - jitter and 1 + jitter.
    jitter: float = 0.2
    #: How long a server may take to answer before another is asked, at first and at most: twice as
    #: long after every attempt that took too long. A write keeps its request id, so it does not matter
    #: if the first server was only slow. Best above the apiservers' election timeout.
    attempt_timeout: float = 0.5
    attempt_timeout_maximum: float = 8.0
    #: How long all attempts of one call may take together.
    deadline: float = 30.0
    #: How long a watch stream may be silent. Servers send a bookmark about every second.
    liveness: float = 5.0

    def __post_init__(self) -> None:
        if not (0 < self.initial <= self.maximum and self.factor >= 1 and 0 <= self.jitter < 1):
            raise ValueError(f"not a sensible back-off: {self}")
        if min(self.attempt_timeout, self.deadline, self.liveness) <= 0:
            raise ValueError(f"time limits must be above zero: {self}")

    def patience(self, failures: int) -> float:
        """How long a server may take after so many attempts that took too long."""
        return min(self.attempt_timeout * 2.0 ** min(failures, 30), self.attempt_timeout_maximum)


DEFAULT_POLICY = RetryPolicy()


class Backoff:
    """The waits of one sequence of failures."""

    def __init__(self, policy: RetryPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._next = policy.initial

    def next(self) -> float:
        """How many seconds to wait now."""
        wait = self._next
        self._next = min(wait * self._policy.factor, self._policy.maximum)
        return wait * self._rng.uniform(1 - self._policy.jitter, 1 + self._policy.jitter)

    def reset(self) -> None:
        """Something succeeded: start from the first wait again."""
        self._next = self._policy.initial


def is_retriable(error: H9sError) -> bool:
    """Whether the same call may succeed later or elsewhere: an error that says so, an attempt that
    took too long, or a replica that has not yet applied the revision asked for."""
    return error.retriable or isinstance(error, TimeoutExpiredError | FutureRevisionError)
