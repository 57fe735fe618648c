"""The client of the API: typed reads, writes that follow the leader, watches that survive a failover."""

from __future__ import annotations

import copy
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

from h9s._pb import api_pb2, cluster_pb2
from h9s.api.kinds import ApiObject, M, kind_of
from h9s.client import operations as ops
from h9s.client import transport as methods
from h9s.client.calls import Calls, Fate
from h9s.client.grpc_transport import GrpcTransport
from h9s.client.history import History
from h9s.client.members import Members
from h9s.client.request_ids import RequestIds
from h9s.client.results import Listing, WatchBatch, decode_batch, decode_mixed_batch, decode_object
from h9s.client.retry import DEFAULT_POLICY, RetryPolicy
from h9s.client.servers import Servers
from h9s.client.transport import Duplex, Transport
from h9s.client.watch import watch
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import InvalidError, RequestExpiredError

#: How many objects one page of a list has.
PAGE_SIZE = 500


class Client:
    """An asynchronous client; use it as `async with Client(...) as client`.

    Reads go to any replica and stay there; writes and heartbeats go to the leader. Servers that are
    down, that hang or that do not lead cost nothing but a short delay. All calls raise the server's
    own error (see `h9s.errors`) where trying again is no use, TimeoutExpiredError when the policy's
    deadline has passed.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock,
        rng: random.Random,
        retry: RetryPolicy = DEFAULT_POLICY,
        name: str = "client",
        transport: Transport | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.rng = rng
        self.name = name
        self._transport = transport or GrpcTransport(config)
        self._request_ids = RequestIds(clock=clock, rng=rng)
        servers = Servers(config.servers, clock=clock, rng=rng)
        self._calls = Calls(self._transport, servers, policy=retry, clock=clock, rng=rng, name=name)
        #: The past, beyond what `get` and `list` read of it with a `revision`.
        self.history = History(self._calls)
        #: The replicas of the control plane.
        self.members = Members(self._calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Break all connections."""
        await self._transport.close()

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of all known apiservers."""
        return self._calls.servers.known

    # -- reads

    async def get(
        self,
        cls: type[M],
        name: str,
        namespace: str = "",
        *,
        stale_ok: bool = False,
        revision: int = 0,
    ) -> M:
        """One object; an empty namespace means the configuration's. `revision`: as it was then.

        `stale_ok` takes the replica's state as it is, else the read is linearizable.
        Raises NotFoundError.
        """
        key = ops.key_of(cls, name, namespace or self.config.namespace)
        request = api_pb2.GetRequest(key=key, stale_ok=stale_ok, revision=revision)
        response = await self._calls.to_any(methods.GET, request)
        return decode_object(cls, response.object)

    async def list(
        self,
        cls: type[M],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        stale_ok: bool = False,
        revision: int = 0,
    ) -> Listing[M]:
        """All objects of a kind, at one revision, read page by page. An empty namespace means all."""
        request = api_pb2.ListRequest(
            key=ops.key_of(cls, "", namespace),
            label_selector=label_selector,
            field_selector=field_selector,
            limit=PAGE_SIZE,
            stale_ok=stale_ok,
            revision=revision,
        )
        items: list[M] = []
        while True:
            response = await self._calls.to_any(methods.LIST, request)
            items.extend(decode_object(cls, stored) for stored in response.objects)
            if not response.continue_token:
                return Listing(items=items, revision=response.revision)
            request.continue_token = response.continue_token

    async def watch(
        self,
        cls: type[M],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        name: str = "",
        after_revision: int | None = None,
        previous: bool = False,
    ) -> AsyncGenerator[WatchBatch[M], None]:
        """Changes after a revision (default: after now), for as long as the caller iterates.

        Each change comes once, in order; what one transaction changed comes together. A batch without
        events only tells how far the watch is. Raises CompactedError: list again. Close the generator
        (`contextlib.aclosing`) to stop.
        """
        key = ops.key_of(cls, name, namespace)
        if after_revision is None:
            now = await self._calls.to_any(
                methods.LIST, api_pb2.ListRequest(key=ops.key_of(cls, "", namespace), limit=1)
            )
            after_revision = now.revision
        request = api_pb2.WatchRequest(
            key=key,
            label_selector=label_selector,
            field_selector=field_selector,
            after_revision=after_revision,
            previous=previous,
        )
        responses = watch(self._calls, request)
        try:
            async for response in responses:
                yield decode_batch(cls, response)
        finally:
            await responses.aclose()

    async def watch_kinds(
        self, classes: Iterable[type[ApiObject]], *, after_revision: int
    ) -> AsyncGenerator[WatchBatch[ApiObject], None]:
        """Changes of several kinds, in all namespaces, as one sequence: what one transaction changed
        comes together whatever its kinds. Everything else is as with `watch`."""
        kinds = {kind_of(cls) for cls in classes}
        responses = watch(self._calls, api_pb2.WatchRequest(after_revision=after_revision))
        try:
            async for response in responses:
                yield decode_mixed_batch(kinds, response)
        finally:
            await responses.aclose()

    # -- writes

    async def create(self, obj: M, *, timeout: float | None = None) -> M:
        """Make an object and give it as stored. Raises AlreadyExistsError, InvalidError."""
        return await self._write(obj, ops.create(obj), timeout)

    async def update(self, obj: M, *, timeout: float | None = None) -> M:
        """Replace everything but the status. Raises ConflictError where `obj` carries a
        resourceVersion that is not the current one, NotFoundError, InvalidError."""
        return await self._write(obj, ops.update(obj), timeout)

    async def update_status(self, obj: M, *, timeout: float | None = None) -> M:
        """Replace the status alone. Raises as `update` does."""
        return await self._write(obj, ops.update_status(obj), timeout)

    async def delete(
        self,
        cls: type[M],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        mod_revision: int | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
    ) -> M:
        """Delete an object; an empty namespace means the configuration's.

        Gives its last state if it is gone, else the object with its deletionTimestamp.
        Raises NotFoundError, ConflictError where `uid` or `mod_revision` do not hold.
        """
        operation = ops.delete(
            cls,
            name,
            namespace or self.config.namespace,
            uid=uid,
            mod_revision=mod_revision,
            grace_period_seconds=grace_period_seconds,
            propagation_policy=propagation_policy,
        )
        response = await self.commit([operation])
        stored = response.objects[0]
        if stored.HasField("value"):
            return decode_object(cls, stored)
        # A replayed answer from before the compaction: no more is known of it than its name.
        gone = cls()
        gone.metadata.name, gone.metadata.namespace = name, operation.key.namespace
        return gone

    async def commit(
        self,
        operations: Sequence[api_pb2.Operation],
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> api_pb2.CommitResponse:
        """An atomic transaction: all operations at one revision or none, exactly once.

        Keeps one request id over all its attempts, however many leaders come and go. Raises the first
        failed operation's error (`error.operation` says which). After TimeoutExpiredError (`timeout`
        seconds; default: the policy's deadline), and only then, whether it was done is open.
        """
        request = api_pb2.CommitRequest(operations=operations, dry_run=dry_run)
        fate = Fate()
        corrected = False
        while True:
            request.request_id.CopyFrom(self._request_ids.new())
            try:
                return await self._calls.to_leader(methods.COMMIT, request, timeout=timeout, fate=fate)
            except RequestExpiredError as error:
                if fate.open or corrected or not error.server_time_ms:
                    raise
                self._request_ids.correct(error.server_time_ms)
                corrected = True

    async def _write(self, obj: M, operation: api_pb2.Operation, timeout: float | None) -> M:
        response = await self.commit([operation], timeout=timeout)
        stored = response.objects[0]
        if stored.HasField("value"):
            return decode_object(type(obj), stored)
        # A replayed answer from before the compaction has the revision alone.
        written = copy.deepcopy(obj)
        written.metadata.resource_version = str(stored.mod_revision)
        return written

    # -- nodes, pods, the cluster

    async def heartbeat(self, node_name: str, *, timeout: float | None = None) -> api_pb2.HeartbeatResponse:
        """Tell the leader that the node is alive."""
        request = api_pb2.HeartbeatRequest(node_name=node_name)
        return await self._calls.to_leader(methods.HEARTBEAT, request, timeout=timeout)

    async def logs(self, request: api_pb2.LogsRequest) -> AsyncIterator[api_pb2.LogsResponse]:
        """A container's output, through any replica. Not resumed where the connection breaks."""
        server = await self._live_server()
        stream = self._transport.stream(server, methods.LOGS, request)
        try:
            async for response in stream:
                yield response
        finally:
            await stream.aclose()

    async def exec(
        self, start: api_pb2.ExecRequest.Start
    ) -> Duplex[api_pb2.ExecRequest, api_pb2.ExecResponse]:
        """Start a command in a container, through any replica; the start message is sent already.

        Write its input and read its output until the exit code; `cancel()` when done early.
        """
        if not start.command:
            raise InvalidError("exec needs a command")
        call = self._transport.duplex(await self._live_server(), methods.EXEC)
        await call.write(api_pb2.ExecRequest(start=start))
        return call

    async def cluster_status(
        self, server: str = "", *, timeout: float | None = None
    ) -> cluster_pb2.ClusterStatusResponse:
        """The state of a replica: of any, or of the one at `server`, asked once."""
        request = cluster_pb2.ClusterStatusRequest()
        if not server:
            return await self._calls.to_any(methods.STATUS, request, timeout=timeout)
        limit = self._calls.policy.patience(1) if timeout is None else timeout
        return await self._transport.unary(server, methods.STATUS, request, timeout=limit)

    async def create_join_token(self, ttl_seconds: int = 0) -> cluster_pb2.CreateJoinTokenResponse:
        """A token that lets machines join; 0: good for an hour."""
        request = cluster_pb2.CreateJoinTokenRequest(ttl_seconds=ttl_seconds)
        return await self._calls.to_leader(methods.CREATE_JOIN_TOKEN, request)

    async def backup(self, *, revision: int = 0, stale_ok: bool = False) -> AsyncGenerator[bytes, None]:
        """The records of a backup (see `h9s.api.backup_file`), from any replica. Not resumed where the
        connection breaks."""
        request = cluster_pb2.BackupRequest(revision=revision, stale_ok=stale_ok)
        stream = self._transport.stream(await self._live_server(), methods.BACKUP, request)
        try:
            async for chunk in stream:
                yield chunk.record
        finally:
            await stream.aclose()

    async def _live_server(self) -> str:
        return await self._calls.live_server(methods.STATUS, cluster_pb2.ClusterStatusRequest())
