"""Who may stand for election, and when: pre-vote (section 9.6 of the Raft dissertation).

A replica that has not heard from a leader asks the others first whether they would vote for it. One
that still hears the leader says nothing, so that a replica which was cut off, or merely lost its own
connection, never deposes a leader that a majority hears. "Hears" means connected and heard from within
the shortest election timeout.

Behind that, a broken connection to the leader can start the question at once instead of after a
timeout. Both followers notice at the same instant, so they are staggered by rank.

The engine stands for election when its deadline has passed; this module owns that deadline.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from h9s._pb import log_pb2
from h9s.raft.engine import Engine
from h9s.raft.settings import RaftSettings

#: How much later the next in rank asks, in heartbeats.
_STAGGER = 0.15
#: How long after a round without a majority the question is asked again while the leader is known to
#: be gone, in heartbeats.
_RETRY = (0.15, 0.3)
#: How long a candidate waits for votes, in heartbeats.
_CANDIDACY = (1.0, 2.0)


class PreVote:
    """One replica's right to stand for election."""

    def __init__(
        self,
        *,
        engine: Engine,
        replica_id: str,
        send: Callable[[str, log_pb2.PeerMessage], bool],
        is_connected: Callable[[str], bool],
        monotonic: Callable[[], float],
        rng: random.Random,
        settings: RaftSettings,
    ) -> None:
        self._engine = engine
        self._replica_id = replica_id
        self._send = send
        self._is_connected = is_connected
        self._monotonic = monotonic
        self._rng = rng
        self._settings = settings
        self._last_heard = float("-inf")
        #: Until then the leader is known to be gone, and rounds follow one another quickly.
        self._hurry_until = float("-inf")
        self._round = 0
        self._granted: set[str] = set()
        self._is_asking = False
        self._may_stand = False

    def before_tick(self) -> bool:
        """Whether the engine may stand for election now: only with the consent of a majority."""
        engine = self._engine
        now = self._monotonic()
        if not engine.is_voter:
            self._is_asking = self._may_stand = False
            if engine.next_deadline() <= now:
                engine.forget_leader()
                engine.postpone_election()
            return False
        if engine.is_leader or not engine.others:
            self._is_asking = self._may_stand = False
            return True
        if self._may_stand:
            self._is_asking = self._may_stand = False
            engine.set_election_deadline(now - 1.0)
            return True
        if engine.next_deadline() <= now:
            self._ask(now)
        return False

    def after_tick(self, *, was_candidate: bool) -> None:
        """A candidate that nobody elects asks again soon."""
        if self._engine.role == "candidate" and not was_candidate:
            self._wait(_CANDIDACY)

    def heard_from_leader(self) -> None:
        """An AppendEntries of the current term came."""
        self._last_heard = self._monotonic()
        self._hurry_until = float("-inf")
        self._is_asking = self._may_stand = False

    def lost_connection(self, name: str) -> float:
        """To the replica `name`; in how many seconds to tick, 0 if it does not matter."""
        engine = self._engine
        if engine.is_leader or name != engine.leader_id or not engine.is_voter:
            return 0.0
        followers = sorted(voter for voter in engine.voters if voter != name)
        delay = 0.001 + followers.index(self._replica_id) * _STAGGER * self._settings.heartbeat_interval
        now = self._monotonic()
        self._hurry_until = now + self._settings.election_timeout_max
        engine.set_election_deadline(now + delay)
        return delay

    def take_request(self, name: str, message: log_pb2.PeerMessage) -> None:
        """Another replica asks. Grant, or say nothing."""
        engine, request = self._engine, message.pre_vote_request
        last = engine.journal[-1]
        is_current = (request.last_log_term, request.last_log_index) >= (last.term, last.index)
        if engine.is_leader or self._hears_leader() or not is_current:
            return
        granted = log_pb2.PeerMessage(term=engine.term)
        granted.pre_vote_granted.round = request.round
        self._send(name, granted)

    def take_grant(self, name: str, granted: log_pb2.PreVoteGranted) -> None:
        """Another replica would vote for this one."""
        if not self._is_asking or granted.round != self._round:
            return
        self._granted.add(name)
        voters = self._engine.voters
        if 1 + len(self._granted & voters) > len(voters) // 2:
            self._may_stand = True

    def stand_now(self) -> None:
        """The leader hands over: no consent is needed."""
        self._may_stand = True

    def _ask(self, now: float) -> None:
        engine = self._engine
        self._round += 1
        self._granted = set()
        self._is_asking = True
        last = engine.journal[-1]
        for member in engine.others:
            message = log_pb2.PeerMessage(term=engine.term)
            message.pre_vote_request.round = self._round
            message.pre_vote_request.last_log_index = last.index
            message.pre_vote_request.last_log_term = last.term
            self._send(member.id, message)
        engine.forget_leader()
        if now < self._hurry_until:
            self._wait(_RETRY)
        else:
            engine.postpone_election()

    def _hears_leader(self) -> bool:
        leader = self._engine.leader_id
        heard_for = self._monotonic() - self._last_heard
        return self._is_connected(leader) and heard_for < self._settings.election_timeout_min

    def _wait(self, heartbeats: tuple[float, float]) -> None:
        wait = self._rng.uniform(*heartbeats) * self._settings.heartbeat_interval
        self._engine.set_election_deadline(self._monotonic() + wait)
