"""When something that failed may be tried again. Pure; the numbers are Kubernetes'."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackoffPolicy:
    """Seconds. `reset_after`: how long after its last increase a delay is forgotten."""

    initial: float = 10.0
    maximum: float = 300.0
    factor: float = 2.0
    reset_after: float = 600.0

    def delay(self, failures: int) -> float:
        """The wait after that many failures in a row, from 1."""
        # The exponent is bounded so that a pod that fails for months does not overflow a float.
        return min(self.initial * self.factor ** min(failures - 1, 64), self.maximum)


@dataclass(frozen=True)
class Backoff:
    """How long to wait after the next failure, and when that was decided."""

    delay: float
    since: float


def retry_at(policy: BackoffPolicy, backoff: Backoff | None, failed_at: float) -> float | None:
    """When something that ended at `failed_at` may start again; None: at once."""
    if backoff is None or failed_at - backoff.since > policy.reset_after:
        return None
    return failed_at + backoff.delay


def advance(policy: BackoffPolicy, backoff: Backoff | None, failed_at: float, now: float) -> Backoff:
    """It is started again at `now`: the first time costs the initial delay, each further one more."""
    if backoff is None or failed_at - backoff.since > policy.reset_after:
        return Backoff(policy.initial, now)
    return Backoff(min(backoff.delay * policy.factor, policy.maximum), now)
