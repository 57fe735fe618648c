"""What operators may choose about the controllers."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True)
class Settings:
    """Times in seconds."""

    #: How long a node may be not ready until its pods are given up.
    pod_eviction_timeout: float = 5.0
    #: How long events are kept after they last happened.
    event_ttl: float = 24 * 3600.0
    #: How many pods that have ended are kept.
    terminated_pod_threshold: int = 1000


def parse_seconds(text: str) -> float:
    """Seconds from `5s`, `500ms`, `1.5m`, `24h` or a bare number. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration: write it like 500ms, 5s, 2m or 24h")
    return float(match[1]) * _SECONDS[match[2]]
