"""The Members service: who takes part in consensus. Admins ask, the leader answers."""

from __future__ import annotations

from typing import Protocol

from h9s._pb import cluster_pb2, cluster_pb2_grpc
from h9s.apiserver.authorization import authorize_members
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.clock import Clock
from h9s.errors import InvalidError, UnsupportedError
from h9s.pki import Identity
from h9s.store.protocol import Store


class Administers(Protocol):
    """Changes the members; see `h9s.raft.administration`."""

    async def add(self, replica_id: str, *, api_address: str, peer_address: str, timeout: float) -> None:
        """Let a replica learn."""
        ...

    async def promote(self, replica_id: str, *, timeout: float) -> None:
        """Make a learner a voter."""
        ...

    async def remove(self, replica_id: str, *, timeout: float) -> None:
        """Take a replica out."""
        ...

    async def transfer(self, replica_id: str = "") -> None:
        """Give the leadership away."""
        ...


class MembersService(Service, cluster_pb2_grpc.MembersServicer):
    """Without somebody who administers (a store in memory) everything is unsupported."""

    def __init__(
        self,
        store: Store,
        *,
        administration: Administers | None,
        authenticator: Authenticates,
        clock: Clock,
        request_timeout: float,
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._store = store
        self._administration = administration

    @served
    async def AddReplica(
        self, request: cluster_pb2.AddReplicaRequest, caller: Identity, context: ServicerContext
    ) -> cluster_pb2.MembersResponse:
        """See `cluster.proto`."""
        for field, address in (("apiAddress", request.api_address), ("peerAddress", request.peer_address)):
            host, _, port = address.rpartition(":")
            if not (host and port.isdecimal() and 0 < int(port) < 65536):
                raise InvalidError(f"{field}: {address!r} is not of the form host:port")
        await self._for(caller).add(
            _named(request.id),
            api_address=request.api_address,
            peer_address=request.peer_address,
            timeout=self.timeout(context),
        )
        return self._members()

    @served
    async def PromoteReplica(
        self, request: cluster_pb2.PromoteReplicaRequest, caller: Identity, context: ServicerContext
    ) -> cluster_pb2.MembersResponse:
        """See `cluster.proto`."""
        await self._for(caller).promote(_named(request.id), timeout=self.timeout(context))
        return self._members()

    @served
    async def RemoveReplica(
        self, request: cluster_pb2.RemoveReplicaRequest, caller: Identity, context: ServicerContext
    ) -> cluster_pb2.MembersResponse:
        """See `cluster.proto`."""
        await self._for(caller).remove(_named(request.id), timeout=self.timeout(context))
        return self._members()

    @served
    async def TransferLeadership(
        self, request: cluster_pb2.TransferLeadershipRequest, caller: Identity, _context: ServicerContext
    ) -> cluster_pb2.TransferLeadershipResponse:
        """See `cluster.proto`."""
        await self._for(caller).transfer(request.id)
        return cluster_pb2.TransferLeadershipResponse()

    def _for(self, caller: Identity) -> Administers:
        authorize_members(caller)
        if self._administration is None:
            raise UnsupportedError("this apiserver's store has no other members")
        return self._administration

    def _members(self) -> cluster_pb2.MembersResponse:
        return cluster_pb2.MembersResponse(replicas=self._store.status().replicas)


def _named(replica_id: str) -> str:
    if not replica_id:
        raise InvalidError("id: a replica has to be named")
    return replica_id
