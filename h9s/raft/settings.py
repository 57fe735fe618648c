"""Timings and limits of consensus. All times in seconds, all sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from h9s.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class RaftSettings:
    """How fast a replica notices that its leader is gone, and how much may be under way.

    Raises UsageError where the values contradict each other.
    """

    #: A follower that hears nothing for a random time in this range stands for election.
    election_timeout_min: float = 0.4
    election_timeout_max: float = 0.8
    heartbeat_interval: float = 0.1
    #: A leader that hears from no majority for this long steps down.
    leader_fallback: float = 0.8
    #: The largest entry: several transactions that were committed as a group.
    max_entry_bytes: int = 4 << 20
    #: Entries sent to a follower and not acknowledged yet.
    max_in_flight_bytes: int = 2 << 20
    #: Entries in one message; one larger entry travels alone.
    max_message_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        if not 0 < 3 * self.heartbeat_interval < self.election_timeout_min < self.election_timeout_max:
            raise UsageError(
                "election timeouts must be a growing range above three heartbeats: got "
                f"{self.election_timeout_min} s to {self.election_timeout_max} s "
                f"with heartbeats every {self.heartbeat_interval} s"
            )
        if self.leader_fallback <= self.heartbeat_interval:
            raise UsageError("leader_fallback must be longer than heartbeat_interval")
