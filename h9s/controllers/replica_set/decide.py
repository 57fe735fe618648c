"""What to do about a ReplicaSet, from a snapshot of it and of the pods around it.

**Why nothing is created twice.** `status.replicas` is the ledger: whatever changes how many pods the
ReplicaSet holds commits the new count with it, in one transaction that fails unless the ReplicaSet is
the one that was read. So of all decisions on one revision of a ReplicaSet only one can go through,
and as the pods were read at that revision or later, it has seen all that earlier ones created. That
holds however many copies of the controller run and however old the snapshots are that they act on.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.api import pods
from h9s.api.labels import Selector
from h9s.api.owners import new_controller_ref
from h9s.client import operations
from h9s.controllers.claim import claim, operations_of
from h9s.controllers.decision import BATCH_SIZE, NOTHING_TO_DO, Decision, Note
from h9s.controllers.replica_set.scale_down import first_to_go
from h9s.controllers.replica_set.status import observed_status, seconds_until_next_available


@dataclass(frozen=True)
class ReplicaSetSnapshot:
    """A ReplicaSet and the pods of its namespace that it controls or that nobody controls (others are
    ignored), all at one revision of the store. `now`: seconds since 1970."""

    replica_set: apps_pb2.ReplicaSet
    pods: tuple[core_pb2.Pod, ...]
    now: float
    #: Whether pods can be created: its namespace exists and is not being deleted.
    namespace_open: bool = True


def decide(snapshot: ReplicaSetSnapshot) -> Decision:
    """One commit: adopt and release; or create or delete, with the status; or the status alone."""
    replica_set = snapshot.replica_set
    claimed = claim(
        replica_set,
        Selector.from_label_selector(replica_set.spec.selector),
        (pod for pod in snapshot.pods if not pods.is_terminal(pod)),
    )
    held = [pod for pod in claimed.held if pods.is_active(pod)]
    if claimed.adopt or claimed.release:
        return _commit(snapshot, held, [*held, *claimed.adopt], operations_of(replica_set, claimed))
    missing = replica_set.spec.replicas - len(held)
    if missing and not replica_set.metadata.HasField("deletion_timestamp"):
        if missing < 0:
            return _delete(snapshot, held, min(-missing, BATCH_SIZE))
        if snapshot.namespace_open:
            return _create(snapshot, held, min(missing, BATCH_SIZE))
    return _commit(snapshot, held, held, ())


def _create(snapshot: ReplicaSetSnapshot, held: list[core_pb2.Pod], count: int) -> Decision:
    replica_set = snapshot.replica_set
    creation = operations.create(new_pod(replica_set))
    # The first operation is the ledger's.
    note = Note(replica_set, "Normal", "SuccessfulCreate", "Created pod", range(1, 1 + count))
    return _commit(snapshot, held, held, (creation,) * count, creating=count, notes=(note,))


def _delete(snapshot: ReplicaSetSnapshot, held: list[core_pb2.Pod], count: int) -> Decision:
    replica_set = snapshot.replica_set
    victims = first_to_go(held, count)
    uids = {pod.metadata.uid for pod in victims}
    survivors = [pod for pod in held if pod.metadata.uid not in uids]
    note = Note(replica_set, "Normal", "SuccessfulDelete", "Deleted pod", range(1, 1 + len(victims)))
    # One that has changed since may have been taken out of the selector's reach, to be kept.
    deletions = tuple(operations.delete(pod, mod_revision=_revision(pod)) for pod in victims)
    return _commit(snapshot, held, survivors, deletions, notes=(note,))


def _commit(
    snapshot: ReplicaSetSnapshot,
    before: list[core_pb2.Pod],
    after: list[core_pb2.Pod],
    changes: tuple[api_pb2.Operation, ...],
    *,
    creating: int = 0,
    notes: tuple[Note, ...] = (),
) -> Decision:
    """The changes that lead from the pods held before to those after, and the ledger with them.

    If the ledger, having fallen behind, would by chance not move, it is first brought up to date
    alone: a commit that leaves the ReplicaSet's revision as it is would not keep others out.
    """
    replica_set, now = snapshot.replica_set, snapshot.now
    again_after = seconds_until_next_available(before, replica_set.spec.min_ready_seconds, now)
    status = observed_status(replica_set, after, creating=creating, now=now)
    if changes and status == replica_set.status:
        status = observed_status(replica_set, before, now=now)
        if status != replica_set.status:
            changes, notes = (), ()
    if status == replica_set.status:
        if not changes:
            return NOTHING_TO_DO if again_after is None else Decision(again_after=again_after)
        ledger = operations.check(replica_set, mod_revision=_revision(replica_set))
    else:
        updated = copy.deepcopy(replica_set)
        updated.status.CopyFrom(status)
        ledger = operations.update_status(updated)
    return Decision((ledger, *changes), notes, again_after)


def new_pod(replica_set: apps_pb2.ReplicaSet) -> core_pb2.Pod:
    """A pod of the template, controlled by the ReplicaSet; its name is left to the apiserver."""
    template = replica_set.spec.template
    pod = core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(
            generate_name=f"{replica_set.metadata.name}-",
            namespace=replica_set.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=[new_controller_ref(replica_set)],
        )
    )
    pod.spec.CopyFrom(template.spec)
    return pod


def _revision(obj: apps_pb2.ReplicaSet | core_pb2.Pod) -> int:
    return int(obj.metadata.resource_version or 0)
