"""The past: which revision was when, what changed an object, what differs between two revisions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from h9s._pb import api_pb2, history_pb2
from h9s.api.kinds import ApiObject
from h9s.api.objects import from_object
from h9s.client.calls import Calls
from h9s.client.transport import DIFF, RESOLVE, REVISIONS
from h9s.errors import HistoryNotHeldError


@dataclass(frozen=True)
class ObjectChange:
    """One revision of an object. `before` is None where it was created, `after` where it was deleted."""

    revision: int
    #: When, seconds since 1970, by the cluster's clock.
    time: float
    #: Who asked for it, such as "admin/alice"; empty where that was not recorded.
    author: str
    key: api_pb2.ObjectKey
    before: ApiObject | None
    after: ApiObject | None


@dataclass(frozen=True)
class Revisions:
    """The changes of an object or a collection, newest first."""

    changes: list[ObjectChange]
    #: What was changed up to this revision is not known any more.
    first_revision: int


class History:
    """What a client can ask about the past. Every call raises CompactedError for what the cluster has
    forgotten, HistoryNotHeldError for what no replica has any more."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def revision_at(self, time: float) -> int:
        """The latest revision at a time, in seconds since 1970."""
        request = history_pb2.ResolveRequest(at_ms=int(time * 1000))
        return (await self._calls.to_any(RESOLVE, request)).revision

    async def revisions(
        self, key: api_pb2.ObjectKey, *, limit: int = 0, up_to_revision: int = 0
    ) -> Revisions:
        """What changed the object or collection `key`, newest first; at most `limit` revisions (0: all).

        Where no replica has all of the history any more, what one of them has.
        """
        request = history_pb2.RevisionsRequest(
            key=key, newest_first=True, limit=limit, up_to_revision=up_to_revision
        )
        changes: list[ObjectChange] = []
        revisions = 0
        while True:
            try:
                response = await self._calls.to_any(REVISIONS, request)
            except HistoryNotHeldError:
                if request.partial_ok:
                    raise
                request.partial_ok = True
                continue
            revisions += len(response.revisions)
            changes += [change for revision in response.revisions for change in _changes(revision)]
            if not response.more or (limit and revisions >= limit):
                return Revisions(changes, response.first_revision)
            request.up_to_revision = response.revisions[-1].revision - 1
            request.limit = limit - revisions if limit else 0

    async def differences(
        self, key: api_pb2.ObjectKey, *, from_revision: int, to_revision: int = 0
    ) -> AsyncIterator[ObjectChange]:
        """What is different at `to_revision` (0: now) from what it was at `from_revision`, by key; each
        with the last of the revisions between that changed it."""
        request = history_pb2.DiffRequest(key=key, from_revision=from_revision, to_revision=to_revision)
        while True:
            response = await self._calls.to_any(DIFF, request)
            for each in response.differences:
                yield _change(each, each.change)
            if not response.continue_token:
                return
            request.continue_token = response.continue_token


def _changes(revision: history_pb2.Revision) -> list[ObjectChange]:
    return [_change(revision, change) for change in revision.changes]


def _change(
    source: history_pb2.Revision | history_pb2.Difference, change: history_pb2.RevisionChange
) -> ObjectChange:
    return ObjectChange(
        revision=source.revision,
        time=source.time_ms / 1000,
        author=source.author,
        key=change.key,
        before=from_object(change.before) if change.HasField("before") else None,
        after=from_object(change.after) if change.HasField("after") else None,
    )
