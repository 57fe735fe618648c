"""Notes what clients and watchers of a simulated cluster were told, and what happened; compares them."""

from __future__ import annotations

from collections.abc import Sequence

from h9s._pb import coordination_pb2
from h9s.sim.ledger import Ledger, LedgerChange
from h9s.sim.linearizability import check
from h9s.sim.operations import OperationLog
from h9s.sim.revision_checks import (
    outcomes_match_history,
    requests_have_one_outcome,
    revisions_follow_time,
    writes_happened_once,
)
from h9s.sim.watch_checks import SeenWatch, check_watches
from h9s.store.model import RevisionRecord

#: Below it are the objects that are watched and whose history is judged: leases, since watches show objects.
PREFIX = "/coordination.k8s.io/Lease/sim/"


def lease(name: str, holder: str) -> bytes:
    """The stored form of an object of that name that holds something."""
    made = coordination_pb2.Lease()
    made.metadata.name, made.metadata.namespace = name, "sim"
    made.spec.holder_identity = holder
    return made.SerializeToString(deterministic=True)


def key_of(stored: bytes) -> str:
    """The key of a stored object."""
    return PREFIX + coordination_pb2.Lease.FromString(stored).metadata.name


class Witness:
    """Of one simulated life."""

    def __init__(self) -> None:
        self.operations = OperationLog()
        self.ledger = Ledger()
        self.watches: list[SeenWatch] = []
        self._faults: list[str] = []

    def applied(self, name: str, records: Sequence[RevisionRecord]) -> None:
        """A replica has applied these revisions."""
        for record in records:
            told = [
                LedgerChange(change.key, change.current.value if change.current else None)
                for change in record.changes
            ]
            fault = self.ledger.add(record.revision, told)
            if fault:
                self._faults.append(f"{name}: {fault}")

    def judge(self) -> list[str]:
        """Everything that is wrong."""
        operations = self.operations.operations()
        verdict = check(operations)
        return [
            *self._faults,
            *(f"not linearizable: {violation}" for violation in verdict.violations),
            *(f"linearizability undecided: {part}" for part in verdict.undecided),
            *outcomes_match_history(operations, self.ledger),
            *revisions_follow_time(operations),
            *writes_happened_once(operations, self.ledger, prefix=PREFIX),
            *requests_have_one_outcome(operations),
            *check_watches(self.watches, self.ledger),
        ]
