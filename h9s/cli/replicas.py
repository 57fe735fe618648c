"""`cluster status` as a table: each replica as it describes itself, seen beside the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from h9s._pb import cluster_pb2

UNREACHABLE = "unreachable"
_HEADER = ["REPLICA", "ROLE", "ADDRESS", "TERM", "COMMIT", "APPLIED", "REVISION", "LAG", "VERSION"]
_UNKNOWN = "-"


@dataclass(frozen=True)
class ClusterView:
    """Every replica that is known by its address, with its answer, None where it gave none."""

    answers: Mapping[str, cluster_pb2.ClusterStatusResponse | None]

    @property
    def leader(self) -> cluster_pb2.ClusterStatusResponse | None:
        """The answer of the one that leads; of two, the one with the later term: the other does not
        know yet."""
        leaders = [
            answer for answer in self.answers.values() if answer is not None and answer.role == "leader"
        ]
        return max(leaders, key=lambda answer: answer.term, default=None)

    @property
    def members(self) -> dict[str, str]:
        """Address -> replica id of all members, as far as the replicas tell."""
        known = {
            replica.api_address: replica.id
            for answer in self._told()
            for replica in answer.replicas
            if replica.api_address
        }
        for address, answer in self.answers.items():
            if answer is not None:
                known[address] = answer.replica_id
        return known

    def _told(self) -> list[cluster_pb2.ClusterStatusResponse]:
        return [answer for answer in self.answers.values() if answer is not None]

    @property
    def is_healthy(self) -> bool:
        """Whether writes go through: a leader, and a majority of the voters with it."""
        if self.leader is None:
            return False
        learners = self.learners
        voting = sum(answer.replica_id not in learners for answer in self._told())
        return 2 * voting > self.size - len(learners)

    @property
    def size(self) -> int:
        """How many replicas there are to be."""
        told = max((len(answer.replicas) for answer in self._told()), default=0)
        return told or len(self.answers)

    @property
    def learners(self) -> frozenset[str]:
        """Who has no vote, as the leader says."""
        replicas = self.leader.replicas if self.leader else ()
        if not any(replica.voter for replica in replicas):
            return frozenset()  # the version before does not say
        return frozenset(replica.id for replica in replicas if not replica.voter)

    def rows(self) -> list[list[str]]:
        """The table, title line first, by replica id."""
        members = self.members
        ordered = sorted(self.answers.items(), key=lambda item: (members.get(item[0], "~"), item[0]))
        return [
            _HEADER,
            *(self._row(members.get(address, "?"), address, answer) for address, answer in ordered),
        ]

    def _row(self, name: str, address: str, answer: cluster_pb2.ClusterStatusResponse | None) -> list[str]:
        if answer is None:
            return [name, UNREACHABLE, address, *[_UNKNOWN] * 6]
        numbers = [answer.term, answer.commit_index, answer.applied_index, answer.revision]
        role = "learner" if name in self.learners else answer.role
        return [name, role, address, *map(str, numbers), self._lag(name), answer.version]

    def _lag(self, name: str) -> str:
        """Log entries that the replica lacks, as the leader knows."""
        leader = self.leader
        if leader is None:
            return _UNKNOWN
        if name == leader.replica_id:
            return "0"
        entries: Sequence[int] = [
            replica.lag_entries
            for replica in leader.replicas
            if replica.id == name and replica.HasField("lag_entries")
        ]
        return str(entries[0]) if entries else _UNKNOWN

    def summary(self) -> str:
        """One sentence on whether all is well."""
        answering = len(self._told())
        text = f"{answering} of {self.size} replicas answer"
        if self.leader is None:
            return f"{text}; there is no leader: writes wait"
        text += (
            f"; {self.leader.replica_id} leads in term {self.leader.term}, revision {self.leader.revision}"
        )
        return text if self.is_healthy else f"{text}; without a majority writes wait"
