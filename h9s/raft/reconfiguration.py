"""Changes who takes part, one at a time, on the leader; and notices on any replica that it was removed.

A change is an entry of the log. The leader refuses one until it has committed an entry of its own term and
the change before is committed (section 4.1 of the Raft dissertation, with the correction of 2015), and if
those voters that it is connected with would be no majority after it.

By itself the leader puts the members that a cluster was founded with into the log, so that the settings
that named them do not matter any more. It lets a replica that lost its data learn, makes it a voter again
once it has caught up, and takes over the addresses that a member announces. Must not decide what a change
does: that is `configuration`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from h9s._pb import log_pb2
from h9s.errors import H9sError, RefusedError, TimeoutExpiredError, UnavailableError
from h9s.raft.configuration import Configuration, Member
from h9s.raft.engine import Engine
from h9s.raft.membership import Membership
from h9s.raft.versions import PeerHello

log = logging.getLogger(__name__)

#: From this feature level on a replica understands configurations in the log.
MEMBERSHIP_LEVEL = 2

#: How much rarer than looks refusals are logged, and replicas told that they are no members.
_LOOKS_PER_WORD = 10
_LOOKS_PER_REMINDER = 300


class Reconfiguration:
    """One replica's part. `refusal` says why it may not change anything now, if so."""

    def __init__(
        self,
        *,
        engine: Engine,
        membership: Membership,
        own: PeerHello,
        hellos: Mapping[str, PeerHello],
        refusal: Callable[[], H9sError | None],
        propose: Callable[[bytes], None],
        level: Callable[[Iterable[str]], int],
        send: Callable[[str, log_pb2.PeerMessage], bool],
        on_removed: Callable[[str], None],
        monotonic: Callable[[], float],
        interval: float,
    ) -> None:
        self._engine = engine
        self._membership = membership
        self._own = own
        self._hellos = hellos
        self._refusal = refusal
        self._propose = propose
        self._level = level
        self._send = send
        self._on_removed = on_removed
        self._monotonic = monotonic
        self._interval = interval
        self._looked_at = float("-inf")
        self._looks = 0
        #: How far the log was committed at the last look.
        self._mark = 0
        #: What was in effect when a change was proposed that is not in the log yet.
        self._queued_after: int | None = None
        self._lock = asyncio.Lock()
        self._waiters: list[asyncio.Future[None]] = []

    # --- asked for ---------------------------------------------------------------------------

    async def change(self, decide: Callable[[Configuration], Configuration], *, timeout: float) -> None:
        """Put what `decide` makes of the members into effect; returns once it is committed.

        Raises NotLeaderError, RefusedError, what `decide` raises: nothing was changed. UnavailableError,
        TimeoutExpiredError: it is open; the same again is safe.
        """
        try:
            async with asyncio.timeout(timeout), self._lock:
                self._require_leadership()
                await self._until_settled(None)
                self._require_leadership()
                before = self._membership.effective
                after = decide(before)
                if after != before:
                    self._check(after)
                    self._submit(after)
                    await self._until_settled(after)
        except TimeoutError:
            raise TimeoutExpiredError(
                f"no majority confirmed the change of members within {timeout:g} s; it may still take effect"
            ) from None

    def _require_leadership(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal

    def has_caught_up(self, replica_id: str) -> bool:
        """Whether that member has everything that was committed a moment ago, as this leader knows."""
        return 0 < self._mark <= self._engine.match_index(replica_id) and replica_id in self._hellos

    def require_caught_up(self, replica_id: str) -> None:
        """Raise RefusedError if it is a learner that lacks much."""
        member = self._membership.effective.get(replica_id)
        if member is None or member.voter or self.has_caught_up(replica_id):
            return
        if replica_id not in self._hellos:
            raise RefusedError(f"replica {replica_id} is not connected: start it, and let it catch up first")
        lag = self._engine.last_index - self._engine.match_index(replica_id)
        raise RefusedError(f"replica {replica_id} has not caught up yet: it lacks {lag} entries of the log")

    async def _until_settled(self, wanted: Configuration | None) -> None:
        """Wait until what is in effect is committed. If it is lost meanwhile, it is open."""
        while not self._is_settled:
            if wanted is not None and self._refusal() is not None:
                raise UnavailableError("leadership was lost while the members changed; the outcome is open")
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if wanted is not None and self._membership.effective != wanted:
            raise UnavailableError("leadership was lost before the members changed; ask again")

    # --- at every tick -----------------------------------------------------------------------

    def advance(self) -> None:
        """Finish what is committed; look around every now and then."""
        if self._membership.index != self._queued_after or not self._engine.is_leader:
            self._queued_after = None
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        now = self._monotonic()
        if now >= self._looked_at + self._interval:
            self._looked_at = now
            self._looks += 1
            self._look()

    def take_not_member(self, name: str, notice: log_pb2.NotMember) -> None:
        """Another replica says that a committed configuration has retired a life of this one."""
        if notice.incarnation == self._membership.incarnation:
            self._on_removed(
                f"replica {name} says that it was removed from the cluster (by entry {notice.index})"
            )

    def _look(self) -> None:
        if self._engine.is_leader:
            if self._refusal() is None and self._is_settled and not self._lock.locked():
                self._change_by_itself()
            self._mark = self._engine.commit_index
        elif self._membership.is_retired_at(self._engine.commit_index):
            self._on_removed("it was removed from the cluster, says its own log")
            return
        if self._looks % _LOOKS_PER_WORD == 0:
            self._tell_the_retired()
        if self._membership.self_member is None and self._looks % _LOOKS_PER_REMINDER == 1:
            log.warning(
                "this replica takes no part yet: it waits for `howbectl cluster add %s`, or for the leader "
                "to notice that it has lost its data",
                self._membership.replica_id,
            )

    # --- by itself ---------------------------------------------------------------------------

    def _change_by_itself(self) -> None:
        before = self._membership.effective
        after = self._wanted(before)
        if after == before and (self._membership.index or self._level(before.voters) < MEMBERSHIP_LEVEL):
            return
        try:
            self._check(after)
        except RefusedError as error:
            if self._looks % _LOOKS_PER_WORD == 0:
                log.warning("the members should change, but: %s", error.message)
            return
        log.info("the members change: %s", describe(after))
        self._submit(after)

    def _wanted(self, before: Configuration) -> Configuration:
        """The first change that is due."""
        for member in before.members:
            own = member.id == self._membership.replica_id
            hello = self._own if own else self._hellos.get(member.id)
            if hello is None:
                continue
            if (member.id, hello.incarnation) in before.retired:
                continue
            if hello.incarnation and hello.incarnation != member.incarnation:
                return before.with_incarnation(member.id, hello.incarnation)
            if hello.incarnation == member.incarnation and _has_moved(member, hello):
                return before.with_addresses(
                    member.id, api_address=hello.api_address, peer_address=hello.peer_address
                )
            if member.promote and self.has_caught_up(member.id):
                return before.with_voter(member.id)
        return before

    # --- common ------------------------------------------------------------------------------

    @property
    def _is_settled(self) -> bool:
        return self._queued_after is None and self._membership.index <= self._engine.commit_index

    def _check(self, after: Configuration) -> None:
        """Raise RefusedError if the change must not be made now."""
        # One that was added, and has not said anything yet, cannot become a voter before it does.
        heard = [m.id for m in after.members if m.voter or m.incarnation or m.id in self._hellos]
        if self._level(heard) < MEMBERSHIP_LEVEL:
            raise RefusedError(
                "some replicas run a version that does not understand changes of members, or were never "
                "heard from: upgrade all of them first"
            )
        own = after.get(self._membership.replica_id)
        if own is None or not own.voter or own.incarnation != self._membership.incarnation:
            raise RefusedError("the leader cannot take itself out: transfer the leadership first")
        reachable = {m.id for m in after.members if m == own or self._is_connected(m)}
        missing = after.missing_for_majority(reachable)
        if missing:
            raise RefusedError(
                f"of the {len(after.voters)} voters that there would be, too many cannot be reached for a "
                f"majority: {', '.join(missing)}"
            )

    def _is_connected(self, member: Member) -> bool:
        """This life of it, not a later one."""
        hello = self._hellos.get(member.id)
        return hello is not None and hello.incarnation == member.incarnation

    def _submit(self, after: Configuration) -> None:
        self._queued_after = self._membership.index
        self._propose(after.encode())

    def _tell_the_retired(self) -> None:
        """Those that are connected, and take part no more, are to stop."""
        index, committed = self._membership.at(self._engine.commit_index)
        for name, hello in sorted(self._hellos.items()):
            if (name, hello.incarnation) in committed.retired:
                message = log_pb2.PeerMessage(term=self._engine.term)
                message.not_member.index, message.not_member.incarnation = index, hello.incarnation
                self._send(name, message)


def _has_moved(member: Member, hello: PeerHello) -> bool:
    api, peer = hello.api_address, hello.peer_address
    return (api or member.api_address, peer or member.peer_address) != (
        member.api_address,
        member.peer_address,
    )


def describe(configuration: Configuration) -> str:
    """Voters and learners, by id."""
    learners = f"; learners {', '.join(configuration.learners)}" if configuration.learners else ""
    return f"voters {', '.join(configuration.voters)}{learners}"
