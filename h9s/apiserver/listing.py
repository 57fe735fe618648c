"""Answers to List: pages of one revision, built in slices so that other calls get their turn.

A page ends at the caller's limit, or earlier at a size that every client can receive; the continue
token then holds the revision and the last key, so that the next page is of the same picture.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import NamedTuple

from h9s._pb import api_pb2
from h9s.apiserver.selection import Selection, type_url_of_key
from h9s.errors import InvalidError
from h9s.store.model import KeyRange, KeyValue
from h9s.store.past import PastView
from h9s.store.protocol import Store, View

#: How many objects are handled before the event loop gets its turn: well under a millisecond.
_SLICE = 200
#: Clients receive up to 64 MiB.
MAX_PAGE_BYTES = 24 * 1024 * 1024
_MAX_KEPT_VIEWS = 32
_MAX_KEPT_OBJECTS = 20_000
#: So many revisions back the event loop goes itself.
_AT_ONCE = 100
_KEEP_SECONDS = 30.0


class ContinueToken(NamedTuple):
    """Where the next page starts: after `last_key`, at `revision`."""

    revision: int
    last_key: str

    def encode(self) -> str:
        """The text for the client, which is to make nothing of it."""
        return base64.urlsafe_b64encode(f"{self.revision} {self.last_key}".encode()).decode()

    @classmethod
    def decode(cls, text: str, *, selection: Selection) -> ContinueToken:
        """Raises InvalidError unless it is one of ours, for such a list."""
        try:
            plain = base64.b64decode(text, altchars=b"-_", validate=True).decode()
            revision, _, last_key = plain.partition(" ")
            token = cls(int(revision), last_key)
        except (binascii.Error, ValueError) as error:
            raise InvalidError("the continue token is damaged: start the list again") from error
        if token.revision <= 0 or not selection.covers(token.last_key):
            raise InvalidError("the continue token belongs to another list: start the list again")
        return token


class OldViews:
    """The state at old revisions. Going back costs time, so what lists are in the middle of is kept
    for a while; what is not here is still in the store's history.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[tuple[int, KeyRange], View] = {}

    async def at(self, revision: int, keys: KeyRange) -> View:
        """The state of `keys` at `revision`.

        Raises CompactedError, HistoryNotHeldError, FutureRevisionError.
        """
        kept = self._kept.get((revision, keys))
        if kept is not None:
            return kept
        store = self._store
        if store.recent_revision <= revision and store.revision - revision <= _AT_ONCE:
            return store.view(revision)
        if not keys.is_single:
            # Has the keys' order made now if it is not known: later it would be that of an older version.
            store.view().scan(keys.first, limit=1)
        return await store.look_back(lambda past: past.view(revision, keys))

    def keep(self, view: View, keys: KeyRange) -> None:
        """Somebody will ask for its next page."""
        kept = (view.revision, keys)
        size = len(view.changed) if isinstance(view, PastView) else 0
        if kept in self._kept or len(self._kept) >= _MAX_KEPT_VIEWS or size > _MAX_KEPT_OBJECTS:
            return
        self._kept[kept] = view
        asyncio.get_running_loop().call_later(_KEEP_SECONDS, self._kept.pop, kept)


async def fill_page(
    response: api_pb2.ListResponse, view: View, selection: Selection, *, after: str, limit: int
) -> None:
    """Put the selected objects after the key `after` into `response`; at most `limit` (0: all).

    Sets the continue token where there is more.
    """
    response.revision = view.revision
    room, size = limit or -1, 0
    while True:
        found = view.scan(selection.prefix, after=after, limit=_SLICE)
        for item in found:
            if selection.selects is not None and not selection.selects(item):
                continue
            if not room or size > MAX_PAGE_BYTES:
                response.continue_token = ContinueToken(view.revision, after).encode()
                return
            write_object(response.objects.add(), item)
            after = item.key
            room -= 1
            size += len(item.value)
        if len(found) < _SLICE:
            return
        after = found[-1].key
        await asyncio.sleep(0)


def write_object(target: api_pb2.Object, found: KeyValue) -> None:
    """The stored bytes as they are, and their revisions."""
    value = target.value
    value.type_url = type_url_of_key(found.key)
    value.value = found.value
    target.create_revision = found.create_revision
    target.mod_revision = found.mod_revision
