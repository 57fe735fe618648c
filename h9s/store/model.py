"""The values that the store deals in. All immutable, none of them knows where it is stored.

Revisions are etcd's: one transaction that changes something is one revision; they are dense, start
at 1 and are independent of the Raft index. Revision 0 stands for "before anything" or "absent".
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class KeyValue(NamedTuple):
    """A key's value and the revisions that created it and last changed it."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


class Change(NamedTuple):
    """What one revision did to one key. `current` is None for a deletion, `previous` for a creation."""

    key: str
    revision: int
    current: KeyValue | None
    previous: KeyValue | None


class RevisionRecord(NamedTuple):
    """One revision of the history: all its changes, in the transaction's order."""

    revision: int
    #: The state machine's clock when it was applied, milliseconds since 1970.
    time_ms: int
    changes: tuple[Change, ...]
    #: Who asked for it ("admin/alice"); empty where that is not known.
    author: str = ""


class KeyRange(NamedTuple):
    """The keys `first <= key < end`; keys sort as their UTF-8 bytes do."""

    first: str
    end: str

    @classmethod
    def only(cls, key: str) -> KeyRange:
        """One key."""
        return cls(key, key + "\0")

    @classmethod
    def under(cls, prefix: str) -> KeyRange:
        """What begins with `prefix`, which must not be empty."""
        return cls(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))

    @property
    def is_single(self) -> bool:
        """Whether it is one key at most."""
        return self.end == self.first + "\0"

    def covers(self, key: str) -> bool:
        """Whether the key is one of them."""
        return self.first <= key < self.end


#: Every key begins with a slash.
ALL_KEYS = KeyRange.under("/")


class FailureKind(Enum):
    """Why a transaction changed nothing."""

    #: A guard did not hold.
    GUARD = "guard"
    #: The request id is older than the oldest remembered, or from the future.
    EXPIRED = "expired"
    #: The transaction itself is malformed.
    INVALID = "invalid"


class Failure(NamedTuple):
    """Why a transaction changed nothing, and where."""

    kind: FailureKind
    #: Which operation of the Commit, from 0; -1 where none is to blame.
    operation: int = -1
    key: str = ""
    #: Whether the guard that failed was the client's own (then the outcome is remembered).
    client: bool = False
    #: The key's mod_revision, 0 if absent.
    actual_revision: int = 0
    message: str = ""
    #: EXPIRED: the state machine's clock, by which the id was judged; milliseconds since 1970.
    now_ms: int = 0


class Outcome(NamedTuple):
    """What became of a transaction. On success every mutated key has `mod_revision == revision`."""

    revision: int
    failure: Failure | None = None
    #: The remembered result of an earlier attempt with the same request id.
    replayed: bool = False
