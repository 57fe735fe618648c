"""The Cluster service: this replica's state, and tokens that let machines join."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from h9s import __version__
from h9s._pb import api_pb2, backup_pb2, cluster_pb2, cluster_pb2_grpc
from h9s.api.keys import collection_prefix
from h9s.api.kinds import kind_of
from h9s.api.objects import to_any
from h9s.apiserver.authentication import SYSTEM
from h9s.apiserver.authorization import authorize_backup, authorize_join_tokens
from h9s.apiserver.backups import backup_records
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.apiserver.committer import Committer
from h9s.apiserver.watch_hub import WatchHub
from h9s.clock import Clock, wall_ms
from h9s.errors import InvalidError, NotFoundError, UnsupportedError
from h9s.pki import Identity, JoinToken
from h9s.store.protocol import Store

DEFAULT_TTL_SECONDS = 3600
MAX_TTL_SECONDS = 7 * 24 * 3600

_TOKEN_KIND = kind_of(cluster_pb2.JoinToken)


class ClusterService(Service, cluster_pb2_grpc.ClusterServicer):
    """Answers for this replica; tokens are written through the leader."""

    def __init__(
        self,
        store: Store,
        *,
        committer: Committer,
        hub: WatchHub,
        cluster_id: str,
        ca_pem: bytes,
        join_addresses: Sequence[str],
        authenticator: Authenticates,
        clock: Clock,
        rng: random.Random,
        request_timeout: float,
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._store = store
        self._committer = committer
        self._hub = hub
        self._cluster_id = cluster_id
        self._ca_pem = ca_pem
        self._join_addresses = tuple(join_addresses)
        self._rng = rng

    @served
    async def Status(
        self, _request: cluster_pb2.ClusterStatusRequest, _caller: Identity, _context: ServicerContext
    ) -> cluster_pb2.ClusterStatusResponse:
        """What this replica knows, without asking others."""
        response = self._store.status()
        response.cluster_id = self._cluster_id
        response.version = __version__
        response.watchers = len(self._hub)
        return response

    @served
    async def Backup(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, request: cluster_pb2.BackupRequest, caller: Identity, context: ServicerContext
    ) -> None:
        """The whole state in records, of one revision."""
        authorize_backup(caller)
        self._store.require_current()
        if not request.stale_ok:
            await self._store.read_barrier(timeout=self.request_timeout)
        header = backup_pb2.BackupHeader(
            cluster_id=self._cluster_id,
            replica_id=self._store.leadership().replica_id,
            version=__version__,
            made_at_ms=wall_ms(self.clock),
        )
        async for record in backup_records(self._store, header, revision=request.revision):
            await context.write(cluster_pb2.BackupChunk(record=record))

    @served
    async def CreateJoinToken(
        self, request: cluster_pb2.CreateJoinTokenRequest, caller: Identity, context: ServicerContext
    ) -> cluster_pb2.CreateJoinTokenResponse:
        """A new token. Its secret is told once and stored nowhere. Leader only."""
        authorize_join_tokens(caller)
        if not self._join_addresses:
            raise UnsupportedError("no apiserver of this cluster has a joinAddress in its configuration")
        ttl_seconds = request.ttl_seconds or DEFAULT_TTL_SECONDS
        if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
            raise InvalidError(f"ttlSeconds must be between 1 and {MAX_TTL_SECONDS}")
        token = JoinToken(
            id=f"{self._rng.getrandbits(40):010x}",
            secret=f"{self._rng.getrandbits(160):040x}",
            ca=self._ca_pem,
        )
        expires_at = Timestamp(seconds=int(self.clock.wall()) + ttl_seconds)
        await self._remove_expired(self.timeout(context))
        await self._commit(_create(token, expires_at), self.timeout(context))
        return cluster_pb2.CreateJoinTokenResponse(
            token=token.format(), expires_at=expires_at, join_addresses=self._join_addresses
        )

    async def _remove_expired(self, timeout: float) -> None:
        now = int(self.clock.wall())
        for found in self._store.view().scan(collection_prefix(_TOKEN_KIND)):
            token = cluster_pb2.JoinToken.FromString(found.value)
            if token.spec.expires_at.seconds <= now:
                try:
                    await self._commit(_delete(token.metadata.name), timeout)
                except NotFoundError:
                    # Somebody else was faster.
                    continue

    async def _commit(self, operation: api_pb2.Operation, timeout: float) -> None:
        await self._committer.commit(api_pb2.CommitRequest(operations=[operation]), SYSTEM, timeout=timeout)


def _create(token: JoinToken, expires_at: Timestamp) -> api_pb2.Operation:
    stored = cluster_pb2.JoinToken()
    stored.metadata.name = token.id
    stored.spec.secret_sha256 = hashlib.sha256(token.secret.encode()).hexdigest()
    stored.spec.expires_at.CopyFrom(expires_at)
    return api_pb2.Operation(verb=api_pb2.Operation.CREATE, object=to_any(stored))


def _delete(name: str) -> api_pb2.Operation:
    key = api_pb2.ObjectKey(group=_TOKEN_KIND.group, kind=_TOKEN_KIND.kind, name=name)
    return api_pb2.Operation(verb=api_pb2.Operation.DELETE, key=key)
