"""A replica's state and what it knows of the members, for `howbectl cluster status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h9s._pb import cluster_pb2

if TYPE_CHECKING:
    from h9s.raft.replicated_store import ReplicatedStore


def status_of(store: ReplicatedStore) -> cluster_pb2.ClusterStatusResponse:
    """As it is now; nobody else is asked."""
    node, machine = store.node, store.machine
    engine, role = node.engine, node.role
    response = cluster_pb2.ClusterStatusResponse(
        cluster_id=store.cluster_id,
        replica_id=store.replica_id,
        role=role.role,
        leader_id=role.leader_id,
        term=role.term,
        last_log_index=engine.last_index,
        commit_index=engine.commit_index,
        applied_index=engine.applied_index,
        revision=store.revision,
        compact_revision=store.compact_revision,
        version=store.version,
        journal_bytes=node.journal.size_bytes,
        objects=len(machine),
        state_hash=machine.history_hash,
        usage=store.usage(),
        feature_level=machine.feature_level,
    )
    for member in store.membership.effective.members:
        own = member.id == store.replica_id
        replica = response.replicas.add(
            id=member.id,
            api_address=member.api_address,
            peer_address=member.peer_address,
            connected=own or member.id in node.connected,
            voter=member.voter,
            incarnation=member.incarnation,
        )
        if engine.is_leader:
            replica.lag_entries = 0 if own else engine.last_index - engine.match_index(member.id)
            replica.caught_up = own or store.administration.has_caught_up(member.id)
    return response
