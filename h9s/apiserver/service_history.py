"""The History service: which revision was the latest at a time, what changed an object, what differs
between two revisions. Computed and put into messages beside the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from h9s._pb import api_pb2, history_pb2, history_pb2_grpc
from h9s.api.keys import parse_key
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.apiserver.listing import ContinueToken, write_object
from h9s.apiserver.moments import revision_at
from h9s.apiserver.selection import Objects, Selection, select
from h9s.clock import Clock
from h9s.errors import FutureRevisionError, HistoryNotHeldError, InvalidError
from h9s.pki import Identity
from h9s.store.model import Change, KeyRange, KeyValue, RevisionRecord
from h9s.store.past import Difference, Past
from h9s.store.protocol import Store

#: What an answer holds at most; clients receive up to 64 MiB.
_MAX_REVISIONS = 200
_MAX_DIFFERENCES = 2000
_MAX_BYTES = 8 << 20
#: Revisions are read so many at a time: each may be as large as a transaction.
_READ_REVISIONS = 20


class HistoryService(Service, history_pb2_grpc.HistoryServicer):
    """Reads from this replica's store and archive."""

    def __init__(
        self, store: Store, *, authenticator: Authenticates, clock: Clock, request_timeout: float
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._store = store

    @served
    async def Resolve(
        self, request: history_pb2.ResolveRequest, _caller: Identity, context: ServicerContext
    ) -> history_pb2.ResolveResponse:
        """The latest revision at a time. Raises CompactedError, HistoryNotHeldError."""
        self._store.require_current()
        if not request.stale_ok:
            await self._store.read_barrier(timeout=self.timeout(context))
        return history_pb2.ResolveResponse(revision=await revision_at(self._store, request.at_ms))

    @served
    async def Revisions(
        self, request: history_pb2.RevisionsRequest, caller: Identity, context: ServicerContext
    ) -> history_pb2.RevisionsResponse:
        """A page of revisions."""
        selection = _selection(request.key, caller)
        _require_not_negative(request.after_revision, request.up_to_revision, request.limit)
        await self._catch_up(request.stale_ok, (request.after_revision, request.up_to_revision), context)
        return await self._store.look_back(lambda past: _revisions(past, request, selection))

    @served
    async def Diff(
        self, request: history_pb2.DiffRequest, caller: Identity, context: ServicerContext
    ) -> history_pb2.DiffResponse:
        """A page of differences."""
        selection = _selection(request.key, caller)
        first, last, after = request.from_revision, request.to_revision, ""
        if request.continue_token:
            token = ContinueToken.decode(request.continue_token, selection=selection)
            last, after = token
        _require_not_negative(first, last)
        if last and last < first:
            raise InvalidError(f"revision {last} is before revision {first}: a difference goes forward")
        await self._catch_up(request.stale_ok, (first, last), context)
        if last > self._store.revision:
            raise FutureRevisionError(
                f"revision {last} does not exist yet: the latest is {self._store.revision}"
            )
        return await self._store.look_back(lambda past: _differences(past, selection, first, last, after))

    async def _catch_up(self, stale_ok: bool, revisions: Sequence[int], context: ServicerContext) -> None:
        """Wait until this replica has what may be asked for."""
        self._store.require_current()
        if not stale_ok or max(revisions) > self._store.revision:
            await self._store.read_barrier(timeout=self.timeout(context))


def _selection(key: api_pb2.ObjectKey, caller: Identity) -> Selection:
    return select(key, labels="", fields="", caller=caller, objects=Objects())


def _require_not_negative(*numbers: int) -> None:
    if min(numbers) < 0:
        raise InvalidError(f"{min(numbers)} is negative")


def _revisions(
    past: Past, request: history_pb2.RevisionsRequest, selection: Selection
) -> history_pb2.RevisionsResponse:
    first = past.first_revision
    after, up_to = request.after_revision, request.up_to_revision
    if not after and first > past.compact_revision and not request.partial_ok:
        raise HistoryNotHeldError(
            f"this replica's history starts at revision {first}, the cluster's at {past.compact_revision}"
        )
    after = after or first
    response = history_pb2.RevisionsResponse(first_revision=first, revision=past.revision)
    limit, size = min(request.limit or _MAX_REVISIONS, _MAX_REVISIONS), 0
    for record in _walk(past, selection.keys, after, up_to, newest_first=request.newest_first):
        changes = [change for change in record.changes if _is_shown(change, selection)]
        if not changes:
            continue
        if len(response.revisions) == limit or size >= _MAX_BYTES:
            response.more = True
            break
        size += _write_revision(response.revisions.add(), record, changes)
    return response


def _walk(
    past: Past, keys: KeyRange, after: int, up_to: int, *, newest_first: bool
) -> Iterator[RevisionRecord]:
    """The revisions of a range, a few at a time."""
    while True:
        records = past.records(
            keys, after=after, up_to=up_to, limit=_READ_REVISIONS, newest_first=newest_first
        )
        yield from records
        if len(records) < _READ_REVISIONS:
            return
        if newest_first:
            up_to = records[-1].revision - 1
            if up_to <= after:
                return
        else:
            after = records[-1].revision


def _is_shown(change: Change, selection: Selection) -> bool:
    found = change.current or change.previous
    return selection.selects is None or (found is not None and selection.selects(found))


def _write_revision(target: history_pb2.Revision, record: RevisionRecord, changes: Sequence[Change]) -> int:
    """Fill in the message; how many bytes of values it has."""
    target.revision, target.time_ms, target.author = record.revision, record.time_ms, record.author
    return sum(
        _write_change(target.changes.add(), change.key, change.previous, change.current) for change in changes
    )


def _write_change(
    target: history_pb2.RevisionChange, key: str, before: KeyValue | None, after: KeyValue | None
) -> int:
    kind, target.key.namespace, target.key.name = parse_key(key)
    target.key.group, target.key.kind = kind.group, kind.kind
    size = 0
    for value, field in ((before, target.before), (after, target.after)):
        if value is not None:
            write_object(field, value)
            size += len(value.value)
    return size


def _differences(
    past: Past, selection: Selection, first: int, last: int, after_key: str
) -> history_pb2.DiffResponse:
    last = last or past.revision
    response = history_pb2.DiffResponse(from_revision=first, to_revision=last)
    keys = selection.keys
    if after_key:
        keys = KeyRange(after_key + "\0", keys.end)
    size = 0
    for key, difference in past.differences(keys, after=first, up_to=last).items():
        shown = difference.after or difference.before
        if selection.selects is not None and shown is not None and not selection.selects(shown):
            continue
        if len(response.differences) == _MAX_DIFFERENCES or size >= _MAX_BYTES:
            response.continue_token = ContinueToken(last, after_key).encode()
            break
        size += _write_difference(response.differences.add(), past, key, difference)
        after_key = key
    return response


def _write_difference(target: history_pb2.Difference, past: Past, key: str, difference: Difference) -> int:
    record = past.record(difference.revision)
    target.revision, target.time_ms, target.author = record.revision, record.time_ms, record.author
    return _write_change(target.change, key, difference.before, difference.after)
