"""How much of everything that is bounded a replica uses, for its status and for Prometheus."""

from __future__ import annotations

from h9s._pb import cluster_pb2
from h9s.raft.archiving import Archiving
from h9s.raft.disk_space import DiskSpace
from h9s.raft.group_commit import GroupCommit
from h9s.raft.journal import Journal
from h9s.raft.metrics import BYTES, DISK_FREE_BYTES, DISK_IS_SHORT, PENDING_WRITES, REMEMBERED_REQUESTS
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.store.state_machine import StateMachine


def usage_of(
    *,
    journal: Journal,
    snapshots: SnapshotFiles,
    machine: StateMachine,
    groups: GroupCommit,
    disk: DiskSpace | None,
    archiving: Archiving,
) -> cluster_pb2.Usage:
    """What is used now; costs a few system calls."""
    if disk is not None:
        disk.look()
    return cluster_pb2.Usage(
        journal_bytes=journal.size_bytes,
        snapshot_bytes=snapshots.size_bytes(),
        recent_history_bytes=machine.history.size_bytes,
        archive_bytes=archiving.archive_bytes,
        first_revision=archiving.first_revision,
        remembered_requests=len(machine.requests),
        pending_writes=groups.pending,
        pending_bytes=groups.pending_bytes,
        disk_free_bytes=disk.free_bytes if disk else 0,
        disk_reserve_bytes=disk.reserve_bytes if disk else 0,
        disk_is_short=disk.is_short if disk else False,
    )


def publish(usage: cluster_pb2.Usage) -> None:
    """Set the metrics."""
    BYTES.labels("journal").set(usage.journal_bytes)
    BYTES.labels("snapshots").set(usage.snapshot_bytes)
    BYTES.labels("recent_history").set(usage.recent_history_bytes)
    BYTES.labels("archive").set(usage.archive_bytes)
    BYTES.labels("pending_writes").set(usage.pending_bytes)
    PENDING_WRITES.set(usage.pending_writes)
    REMEMBERED_REQUESTS.set(usage.remembered_requests)
    DISK_FREE_BYTES.set(usage.disk_free_bytes)
    DISK_IS_SHORT.set(usage.disk_is_short)
