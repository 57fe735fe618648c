"""What an administrator may ask of the leader about the members. Every request may be repeated safely."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from h9s.errors import InvalidError, NotFoundError, NotLeaderError, RefusedError
from h9s.raft.configuration import Configuration
from h9s.raft.engine import Engine
from h9s.raft.membership import Membership
from h9s.raft.reconfiguration import Reconfiguration
from h9s.raft.versions import PeerHello


class Administration:
    """Of one replica. Where it does not lead, everything raises NotLeaderError."""

    def __init__(
        self,
        *,
        reconfiguration: Reconfiguration,
        membership: Membership,
        hellos: Mapping[str, PeerHello],
        engine: Engine,
        refusal: Callable[[], NotLeaderError | None],
        hand_over: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._reconfiguration = reconfiguration
        self._membership = membership
        self._hellos = hellos
        self._engine = engine
        self._refusal = refusal
        self._hand_over = hand_over

    def has_caught_up(self, replica_id: str) -> bool:
        """Whether that member has everything that was committed a moment ago."""
        return self._reconfiguration.has_caught_up(replica_id)

    async def add(self, replica_id: str, *, api_address: str, peer_address: str, timeout: float) -> None:
        """Let a replica that was prepared with `init --join` learn. See `Reconfiguration.change`."""
        if not replica_id or not api_address or not peer_address:
            raise InvalidError("a replica to add needs an id, an API address and a peer address")

        def decide(before: Configuration) -> Configuration:
            hello = self._hellos.get(replica_id)
            if before.get(replica_id) is None and hello is not None and not hello.incarnation:
                raise RefusedError(
                    f"replica {replica_id} was prepared as a founding member: prepare an empty data folder "
                    "with `howbe-apiserver init --join`"
                )
            return before.with_learner(
                replica_id,
                api_address=api_address,
                peer_address=peer_address,
                incarnation=hello.incarnation if hello else 0,
            )

        await self._reconfiguration.change(decide, timeout=timeout)

    async def promote(self, replica_id: str, *, timeout: float) -> None:
        """Make a learner that has caught up a voter."""

        def decide(before: Configuration) -> Configuration:
            after = before.with_voter(replica_id)
            self._reconfiguration.require_caught_up(replica_id)
            return after

        await self._reconfiguration.change(decide, timeout=timeout)

    async def remove(self, replica_id: str, *, timeout: float) -> None:
        """Take a replica out. The leader itself hands over first; then NotLeaderError names who to ask."""
        if replica_id == self._membership.replica_id:
            await self._give_way()
        await self._reconfiguration.change(lambda before: before.without(replica_id), timeout=timeout)

    async def transfer(self, replica_id: str = "") -> None:
        """Give the leadership to that voter, or to any that has everything."""
        self._require_leadership()
        if replica_id == self._membership.replica_id:
            return
        member = self._membership.effective.get(replica_id)
        if replica_id and member is None:
            raise NotFoundError(f"there is no replica {replica_id} in this cluster")
        if member is not None and not member.voter:
            raise RefusedError(f"replica {replica_id} is a learner: it cannot lead")
        if not self._engine.others:
            raise RefusedError("there is no other voter that could lead")
        if replica_id and replica_id not in self._hellos:
            raise RefusedError(f"replica {replica_id} is not connected")
        if not await self._hand_over(replica_id):
            raise RefusedError(f"{replica_id or 'no other replica'} did not take the leadership over in time")
        if replica_id and self._engine.leader_id != replica_id:
            raise RefusedError(f"replica {self._engine.leader_id} was faster, and leads instead")

    async def _give_way(self) -> None:
        self._require_leadership()
        if self._membership.effective.voters == (self._membership.replica_id,):
            self._membership.effective.without(self._membership.replica_id)
        await self.transfer()
        self._require_leadership()

    def _require_leadership(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
