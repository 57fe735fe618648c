"""Who takes part in consensus, and how that may change. Pure.

A configuration names members; each is a replica's id together with an incarnation. A replica that lost
its disk comes back under another incarnation, and so is another member: what its former self had
promised or acknowledged is nothing that it could break. Voters decide; learners get the log and count
nowhere. A change adds or takes away at most one voter, so that any majority before it and any majority
after it have a member in common (section 4.1 of the Raft dissertation).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from h9s._pb import log_pb2
from h9s.errors import AlreadyExistsError, NotFoundError, RefusedError

#: How many of those that took part once are remembered.
_MOST_RETIRED = 100


class Life(NamedTuple):
    """A replica with one disk: what promises are kept by."""

    id: str
    incarnation: int


@dataclass(frozen=True, kw_only=True)
class Member:
    """One replica in one configuration. Addresses are "host:port"; they identify nothing."""

    id: str
    #: 0: founded with the cluster, or added and never heard from.
    incarnation: int = 0
    voter: bool = True
    api_address: str = ""
    peer_address: str = ""
    #: A learner that becomes a voter by itself once it has caught up.
    promote: bool = False


@dataclass(frozen=True)
class Configuration:
    """All members, sorted by id. Empty: nobody knows yet who takes part.

    `retired` took part once and never will again: they are told, and cannot be added any more.
    """

    members: tuple[Member, ...] = ()
    retired: tuple[Life, ...] = ()

    @classmethod
    def of(cls, members: Iterable[Member], *, retired: Iterable[Life] = ()) -> Configuration:
        """The members in order."""
        return cls(tuple(sorted(members, key=lambda member: member.id)), tuple(retired)[-_MOST_RETIRED:])

    @classmethod
    def decode(cls, data: bytes) -> Configuration:
        """The inverse of `encode`."""
        message = log_pb2.Configuration.FromString(data)
        members = [
            Member(
                id=member.id,
                incarnation=member.incarnation,
                voter=member.voter,
                api_address=member.api_address,
                peer_address=member.peer_address,
                promote=member.promote,
            )
            for member in message.members
        ]
        return cls.of(members, retired=(Life(life.id, life.incarnation) for life in message.retired))

    def encode(self) -> bytes:
        """A `log_pb2.Configuration`."""
        message = log_pb2.Configuration()
        for member in self.members:
            message.members.add(
                id=member.id,
                incarnation=member.incarnation,
                voter=member.voter,
                api_address=member.api_address,
                peer_address=member.peer_address,
                promote=member.promote,
            )
        for life in self.retired:
            message.retired.add(id=life.id, incarnation=life.incarnation)
        return message.SerializeToString(deterministic=True)

    def get(self, replica_id: str) -> Member | None:
        """The member of that id."""
        return next((member for member in self.members if member.id == replica_id), None)

    @property
    def voters(self) -> tuple[str, ...]:
        """Who decides."""
        return tuple(member.id for member in self.members if member.voter)

    @property
    def learners(self) -> tuple[str, ...]:
        """Who gets the log and counts nowhere."""
        return tuple(member.id for member in self.members if not member.voter)

    @property
    def voting_lives(self) -> frozenset[Life]:
        """Who decides, with their incarnations."""
        return frozenset(Life(member.id, member.incarnation) for member in self.members if member.voter)

    # --- changes -----------------------------------------------------------------------------

    def with_learner(
        self, replica_id: str, *, api_address: str, peer_address: str, incarnation: int = 0
    ) -> Configuration:
        """A new replica learns. The same again changes nothing; raises AlreadyExistsError for others."""
        self._refuse_retired(replica_id, incarnation)
        existing = self.get(replica_id)
        if existing is None:
            self._require_free(api_address, peer_address)
            return self._with(
                Member(
                    id=replica_id,
                    incarnation=incarnation,
                    voter=False,
                    api_address=api_address,
                    peer_address=peer_address,
                )
            )
        if (existing.api_address, existing.peer_address) == (api_address, peer_address):
            return self
        raise AlreadyExistsError(
            f"replica {replica_id} is a member already, at {existing.api_address} (API) and "
            f"{existing.peer_address} (peers); it tells of new addresses itself when it is started with them"
        )

    def with_voter(self, replica_id: str) -> Configuration:
        """A learner becomes a voter; for a voter nothing changes."""
        member = self._member(replica_id)
        if not member.voter and not member.incarnation:
            raise RefusedError(f"replica {replica_id} has not been started with `init --join` yet")
        return self._with(replace(member, voter=True, promote=False))

    def without(self, replica_id: str) -> Configuration:
        """The replica takes part no more; for one that never did nothing changes."""
        if self.voters == (replica_id,):
            raise RefusedError(f"replica {replica_id} is the last voter: without it there is no cluster")
        others = [member for member in self.members if member.id != replica_id]
        return Configuration.of(others, retired=self._with_retired(replica_id))

    def with_incarnation(self, replica_id: str, incarnation: int) -> Configuration:
        """The replica has lost its data: it learns, and becomes again what it was once it has caught up."""
        member = self._member(replica_id)
        if member.incarnation == incarnation:
            return self
        if self.voters == (replica_id,):
            raise RefusedError(f"replica {replica_id} was the last voter, and has lost its data")
        self._refuse_retired(replica_id, incarnation)
        learner = replace(
            member, incarnation=incarnation, voter=False, promote=member.voter or member.promote
        )
        return replace(self._with(learner), retired=self._with_retired(replica_id))

    def with_addresses(self, replica_id: str, *, api_address: str, peer_address: str) -> Configuration:
        """The replica is reached elsewhere now; empty: where it was."""
        member = self._member(replica_id)
        return self._with(
            replace(
                member,
                api_address=api_address or member.api_address,
                peer_address=peer_address or member.peer_address,
            )
        )

    def missing_for_majority(self, reachable: Collection[str]) -> tuple[str, ...]:
        """Which voters cannot be reached, if those that can are no majority; else nobody."""
        missing = tuple(voter for voter in self.voters if voter not in reachable)
        return missing if 2 * len(missing) >= len(self.voters) else ()

    def _require_free(self, api_address: str, peer_address: str) -> None:
        for member in self.members:
            taken = ({member.api_address, member.peer_address} & {api_address, peer_address}) - {""}
            if taken:
                raise AlreadyExistsError(f"{' and '.join(sorted(taken))} belongs to replica {member.id}")

    def _member(self, replica_id: str) -> Member:
        member = self.get(replica_id)
        if member is None:
            known = ", ".join(member.id for member in self.members)
            raise NotFoundError(f"there is no replica {replica_id} in this cluster; there are {known}")
        return member

    def _with(self, member: Member) -> Configuration:
        others = [other for other in self.members if other.id != member.id]
        return Configuration.of([*others, member], retired=self.retired)

    def _with_retired(self, replica_id: str) -> tuple[Life, ...]:
        """Those and this member's life; one that was never heard from had none."""
        member = self.get(replica_id)
        if member is None or not (member.incarnation or member.voter):
            return self.retired
        return (*self.retired, Life(member.id, member.incarnation))[-_MOST_RETIRED:]

    def _refuse_retired(self, replica_id: str, incarnation: int) -> None:
        if incarnation and (replica_id, incarnation) in self.retired:
            raise RefusedError(
                f"replica {replica_id} was removed with the data that it has: remove them, and run "
                "`howbe-apiserver init --join` again"
            )
