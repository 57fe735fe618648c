"""The Objects service: Get, List, Watch, Commit and CommitStream, over the rooms that do the work."""

from __future__ import annotations

from collections.abc import AsyncIterator

from h9s._pb import api_pb2, api_pb2_grpc
from h9s.api.keys import object_key
from h9s.api.kinds import kind_by
from h9s.apiserver import instruments
from h9s.apiserver.authorization import authorize_read
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.apiserver.commit_stream import CommitStreamSession
from h9s.apiserver.committer import Committer
from h9s.apiserver.listing import ContinueToken, OldViews, fill_page, write_object
from h9s.apiserver.moments import revision_at
from h9s.apiserver.refusals import not_found, require_scope
from h9s.apiserver.selection import Objects, Selection, select
from h9s.apiserver.watch_hub import WatchHub
from h9s.clock import Clock
from h9s.errors import FutureRevisionError, InvalidError, TimeoutExpiredError, UnavailableError
from h9s.pki import Identity
from h9s.store.model import KeyRange
from h9s.store.protocol import Store, View


class ObjectsService(Service, api_pb2_grpc.ObjectsServicer):
    """Reads from this replica's store; writes through the committer."""

    def __init__(
        self,
        store: Store,
        *,
        committer: Committer,
        hub: WatchHub,
        authenticator: Authenticates,
        clock: Clock,
        request_timeout: float,
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._store = store
        self._committer = committer
        self._hub = hub
        self._objects = Objects()
        self._old_views = OldViews(store)

    @served
    async def Get(
        self, request: api_pb2.GetRequest, caller: Identity, context: ServicerContext
    ) -> api_pb2.GetResponse:
        """One object. Raises NotFoundError."""
        key = request.key
        kind = kind_by(key.group, key.kind)
        authorize_read(caller, kind)
        require_scope(kind, key.namespace)
        if not key.name:
            raise InvalidError(f"the key of the {kind.kind} has no name")
        stored_key = object_key(kind, key.namespace, key.name)
        revision = await self._revision(request, request.revision, context)
        view = await self._view(revision, KeyRange.only(stored_key))
        found = view.get(stored_key)
        if found is None:
            raise not_found(kind, key.namespace, key.name)
        response = api_pb2.GetResponse(revision=view.revision)
        write_object(response.object, found)
        return response

    @served
    async def List(
        self, request: api_pb2.ListRequest, caller: Identity, context: ServicerContext
    ) -> api_pb2.ListResponse:
        """A page of a collection."""
        if request.key.name:
            raise InvalidError("a list is of a collection: leave out the name, or select by metadata.name")
        if request.limit < 0:
            raise InvalidError(f"limit {request.limit} is negative")
        selection = self._select(request, caller)
        revision, after = request.revision, ""
        if request.continue_token:
            token = ContinueToken.decode(request.continue_token, selection=selection)
            if revision not in (0, token.revision):
                raise InvalidError("the continue token belongs to another revision: give only one of them")
            revision, after = token
        view = await self._view(await self._revision(request, revision, context), selection.keys)
        response = api_pb2.ListResponse()
        await fill_page(response, view, selection, after=after, limit=request.limit)
        if response.continue_token:
            self._old_views.keep(view, selection.keys)
        instruments.LISTED_OBJECTS.inc(len(response.objects))
        return response

    @served
    async def Watch(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, request: api_pb2.WatchRequest, caller: Identity, context: ServicerContext
    ) -> None:
        """The changes of a collection, until the caller ends it. Raises CompactedError."""
        selection = self._select(request, caller)
        self._store.require_current()
        if request.HasField("after_revision"):
            after = request.after_revision
            await self._require_existing(after, context)
        else:
            after = self._store.revision
        with self._hub.watch(selection, after_revision=after, previous=request.previous) as watcher:
            while True:
                await context.write(await watcher.next())

    @served
    async def Commit(
        self, request: api_pb2.CommitRequest, caller: Identity, context: ServicerContext
    ) -> api_pb2.CommitResponse:
        """An atomic transaction. Leader only."""
        committed = await self._committer.commit(request, caller, timeout=self.timeout(context))
        response = api_pb2.CommitResponse()
        committed.write_to(response)
        return response

    @served
    async def CommitStream(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self,
        requests: AsyncIterator[api_pb2.CommitStreamRequest],
        caller: Identity,
        context: ServicerContext,
    ) -> None:
        """Many transactions, each for itself. Leader only."""
        session = CommitStreamSession(self._committer, caller, timeout=self.request_timeout)
        await session.run(requests, context.write)

    async def _revision(
        self, request: api_pb2.GetRequest | api_pb2.ListRequest, revision: int, context: ServicerContext
    ) -> int:
        """At which revision to read, once this replica can; 0: at the latest. Raises UnavailableError,
        and CompactedError or HistoryNotHeldError for a time that is too long ago."""
        if revision < 0:
            raise InvalidError(f"revision {revision} is negative")
        if request.revision and request.at_ms:
            raise InvalidError("a revision and a time are given: give only one of them")
        store = self._store
        store.require_current()
        if revision > store.revision or not (revision or request.stale_ok):
            # A revision that this replica has not applied yet may well exist.
            await store.read_barrier(timeout=self.timeout(context))
        return revision or (await revision_at(store, request.at_ms) if request.at_ms else 0)

    async def _view(self, revision: int, keys: KeyRange) -> View:
        """The state of `keys`. Raises CompactedError, HistoryNotHeldError, FutureRevisionError."""
        return await self._old_views.at(revision, keys) if revision else self._store.view()

    async def _require_existing(self, revision: int, context: ServicerContext) -> None:
        """Refuse a revision that nobody has given out, unless nobody can tell."""
        if revision < 0:
            raise InvalidError(f"revision {revision} is negative")
        if revision <= self._store.revision:
            return
        try:
            await self._store.read_barrier(timeout=self.timeout(context))
        except (UnavailableError, TimeoutExpiredError):
            # The watch will start when this replica gets there.
            return
        if revision > self._store.revision:
            raise FutureRevisionError(
                f"revision {revision} does not exist yet: the latest is {self._store.revision}"
            )

    def _select(self, request: api_pb2.ListRequest | api_pb2.WatchRequest, caller: Identity) -> Selection:
        return select(
            request.key,
            labels=request.label_selector,
            fields=request.field_selector,
            caller=caller,
            objects=self._objects,
        )
