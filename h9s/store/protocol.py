"""The seam between the API and the store: what an apiserver may ask of it.

Semantics follow etcd's (KV, Txn, Watch). Implementations: `h9s.raft.replicated_store` for real,
`h9s.testing.memory_store` for unit tests; another store, such as etcd itself, could stand in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from h9s._pb import cluster_pb2, log_pb2
from h9s.store.model import Change, KeyRange, KeyValue, Outcome, RevisionRecord
from h9s.store.snapshot import StateSnapshot

if TYPE_CHECKING:
    from h9s.store.past import Past

T = TypeVar("T")


class View(Protocol):
    """An immutable picture of all keys at one revision; taking one costs O(1)."""

    @property
    def revision(self) -> int:
        """The revision it shows."""
        ...

    def get(self, key: str) -> KeyValue | None:
        """The key's value, or None."""
        ...

    def scan(self, prefix: str, *, after: str = "", limit: int = 0) -> list[KeyValue]:
        """What starts with `prefix` and sorts after the key `after`, by key; at most `limit` (0: all)."""
        ...


class HistoryReader(Protocol):
    """The older revisions `first_revision < r <= last_revision`, wherever they are kept.

    Every method may block, and be called from any thread. Raises HistoryNotHeldError where a part of
    what is asked for is not there any more.
    """

    @property
    def first_revision(self) -> int:
        """The changes after this revision are held."""
        ...

    @property
    def last_revision(self) -> int:
        """Up to this one."""
        ...

    def values_before(self, keys: KeyRange, *, after: int, up_to: int) -> dict[str, KeyValue | None]:
        """What those of `keys` were at revision `after` that a revision in `after < r <= up_to` changed."""
        ...

    def records(
        self, keys: KeyRange, *, after: int, up_to: int, limit: int = 0, newest_first: bool = False
    ) -> list[RevisionRecord]:
        """The revisions in `after < r <= up_to` that changed some of `keys`, with those changes alone.

        Ascending, or newest first; at most `limit` (0: all).
        """
        ...

    def revision_at(self, time_ms: int) -> int:
        """The last revision held that is not younger than `time_ms`; `first_revision` if all are."""
        ...


class Leadership(NamedTuple):
    """Who leads, as this replica knows it."""

    replica_id: str
    #: leader, follower or candidate.
    role: str
    #: Empty while unknown.
    leader_id: str
    leader_api_address: str
    term: int
    #: This replica leads and has applied an entry of its own term: its state holds every
    #: acknowledged write.
    ready: bool


class Store(Protocol):
    """A replicated multi-version key-value store."""

    @property
    def revision(self) -> int:
        """The latest revision applied here."""
        ...

    @property
    def compact_revision(self) -> int:
        """The floor of the history: revisions below it cannot be read, changes up to it not be replayed."""
        ...

    @property
    def recent_revision(self) -> int:
        """What has changed after this is in memory: `view` and `changes` answer at once. For older
        revisions, down to the floor, there is `look_back`."""
        ...

    def view(self, revision: int = 0) -> View:
        """The state at `revision` (0: the latest applied here), which must be a recent one.

        Takes some microseconds for every revision since then. Raises CompactedError below
        `recent_revision`, FutureRevisionError above the latest.
        """
        ...

    async def look_back(self, work: Callable[[Past], T]) -> T:
        """What `work` finds in the whole history, from the floor to now. It runs beside the event loop."""
        ...

    def changes(self, after_revision: int, *, limit: int = 1000) -> list[tuple[int, tuple[Change, ...]]]:
        """The revisions after `after_revision`, ascending, whole, without a gap; at most `limit`.

        Raises CompactedError if some of them are not in memory any more.
        """
        ...

    def capture(self) -> StateSnapshot:
        """Everything as it is now, for a backup."""
        ...

    def require_current(self) -> None:
        """Raise UnavailableError while this replica knows that it is far behind: it has just joined, or
        waits for a snapshot. What it shows then is no answer, not even a stale one."""
        ...

    async def wait_for_change(self, after_revision: int) -> None:
        """Return once `revision > after_revision`."""
        ...

    async def read_barrier(self, *, timeout: float) -> None:
        """Return once `view()` shows everything acknowledged before the call (Raft's ReadIndex).

        Raises UnavailableError when there is no leader, TimeoutExpiredError after `timeout` seconds.
        """
        ...

    async def propose(self, transaction: log_pb2.Transaction, *, timeout: float) -> Outcome:
        """Replicate and apply a transaction.

        Raises NotLeaderError, OverloadedError and TooLargeError when nothing was done;
        UnavailableError (leadership lost) and TimeoutExpiredError when its fate is open until the
        same request id is proposed again.
        """
        ...

    def leadership(self) -> Leadership:
        """Who leads now."""
        ...

    def on_leadership_change(self, callback: Callable[[Leadership], None]) -> None:
        """Call `callback` from the event loop whenever `leadership()` changes."""
        ...

    def status(self) -> cluster_pb2.ClusterStatusResponse:
        """This replica's state, for `howbectl cluster status`."""
        ...
