"""Changes of the replicas that make up the control plane, asked of whoever leads."""

from __future__ import annotations

from collections.abc import Sequence

from h9s._pb import cluster_pb2
from h9s.client import transport as methods
from h9s.client.calls import Calls


class Members:
    """Every request may be repeated safely, and is, until it is answered or time is up."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def add(
        self, replica_id: str, *, api_address: str, peer_address: str
    ) -> Sequence[cluster_pb2.Replica]:
        """A replica that was prepared with `init --join` learns; all members."""
        request = cluster_pb2.AddReplicaRequest(
            id=replica_id, api_address=api_address, peer_address=peer_address
        )
        return (await self._calls.to_leader(methods.ADD_REPLICA, request)).replicas

    async def promote(self, replica_id: str) -> Sequence[cluster_pb2.Replica]:
        """A learner becomes a voter. Raises RefusedError if it has not caught up."""
        request = cluster_pb2.PromoteReplicaRequest(id=replica_id)
        return (await self._calls.to_leader(methods.PROMOTE_REPLICA, request)).replicas

    async def remove(self, replica_id: str) -> Sequence[cluster_pb2.Replica]:
        """A replica takes part no more. Raises RefusedError if too few would be left that can be reached."""
        request = cluster_pb2.RemoveReplicaRequest(id=replica_id)
        return (await self._calls.to_leader(methods.REMOVE_REPLICA, request)).replicas

    async def transfer_leadership(self, replica_id: str = "") -> None:
        """Another replica leads: that one, or any that has everything."""
        request = cluster_pb2.TransferLeadershipRequest(id=replica_id)
        await self._calls.to_leader(methods.TRANSFER_LEADERSHIP, request)
