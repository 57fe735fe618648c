"""The state machine: log entries in, outcomes out; deterministic, and it never raises on a transaction.

Within one entry transactions are applied one after the other. A transaction's guards are all
checked before anything is changed; then all its mutations get the same new revision. One that
changes nothing makes no revision.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence

from h9s._pb import log_pb2
from h9s.errors import CompactedError
from h9s.store.history import History
from h9s.store.keyspace import EMPTY, KeyspaceEditor, KeyspaceView, undo
from h9s.store.model import Change, Failure, FailureKind, KeyValue, Outcome, RevisionRecord
from h9s.store.requests import RequestTable
from h9s.store.snapshot import StateSnapshot
from h9s.store.sorted_keys import Groups, SortedKeys

#: Of LogEntry. A replica that meets a newer one must stop instead of guessing.
FORMAT_VERSION = 1

_HEADER = struct.Struct("<QQ")
#: revision, length of the key, length of the value, whether it is a deletion
_CHANGE = struct.Struct("<QII?")


class StateMachine:
    """All keys, their recent history, and the remembered requests."""

    def __init__(self, *, requests: RequestTable | None = None) -> None:
        self._groups: Groups = EMPTY
        self._orders = SortedKeys()
        self._objects = 0
        self.history = History()
        self.requests = requests if requests is not None else RequestTable()
        #: The replicated clock, milliseconds since 1970; never goes back.
        self.now_ms = 0
        #: What every replica understands (see `raft/versions.py`); only rises.
        self.feature_level = 1
        #: Chained over every change so far: equal on replicas that applied the same history.
        self.history_hash = bytes(16)

    @property
    def revision(self) -> int:
        """The latest revision."""
        return self.history.revision

    def __len__(self) -> int:
        """How many keys there are."""
        return self._objects

    def view(self, revision: int = 0) -> KeyspaceView:
        """The keys at `revision` (0: the latest), which must be a recent one: every change since takes time.

        Raises CompactedError, FutureRevisionError. Older ones: `store.past`.
        """
        if revision in (0, self.revision):
            return KeyspaceView(self._groups, revision=self.revision, orders=self._orders)
        if revision < 0:
            raise CompactedError(f"there is no revision {revision}")
        groups = self._groups
        for record in self.history.newest_first_above(revision):
            groups = undo(groups, reversed(record.changes))
        return KeyspaceView(groups, revision=revision, orders=self._orders)

    def apply(self, entry: log_pb2.LogEntry) -> list[Outcome]:
        """Apply an entry; one outcome per transaction, in order."""
        self.now_ms = max(self.now_ms, entry.time_ms)
        self.feature_level = max(self.feature_level, entry.feature_level)
        self.requests.forget_old(now_ms=self.now_ms)
        first_new = self.revision + 1
        editor = KeyspaceEditor(self._groups)
        outcomes = [self._apply_once(transaction, editor) for transaction in entry.transactions]
        if self.revision >= first_new:
            self._groups = editor.finish()
            records = self.history.after(first_new - 1)
            self._orders.follow(self._groups, (change for record in records for change in record.changes))
            self.history_hash = _chain(self.history_hash, records)
        if entry.compact_revision:
            self.history.compact(entry.compact_revision)
        return outcomes

    def capture(self) -> StateSnapshot:
        """Everything, as it is now; costs a copy of the lists of references, not of what they refer to."""
        return StateSnapshot(
            groups=self._groups,
            objects=self._objects,
            revision=self.revision,
            compact_revision=self.history.compact_revision,
            now_ms=self.now_ms,
            request_floor_ms=self.requests.floor_ms,
            history_hash=self.history_hash,
            recent_revision=self.history.recent_revision,
            history=tuple(self.history.after(self.history.recent_revision)),
            requests=tuple(self.requests),
            feature_level=self.feature_level,
        )

    def restore(self, snapshot: StateSnapshot) -> None:
        """Become what was captured."""
        self._groups = snapshot.groups
        self._orders = SortedKeys()
        self._objects = snapshot.objects
        self.now_ms = snapshot.now_ms
        self.feature_level = snapshot.feature_level
        self.history_hash = snapshot.history_hash
        self.history.replace(
            snapshot.history,
            compact_revision=snapshot.compact_revision,
            recent_revision=snapshot.recent_revision,
        )
        self.requests.replace(snapshot.requests, floor_ms=snapshot.request_floor_ms)

    def state_hash(self) -> bytes:
        """A hash of everything replicated; reads every key."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(_HEADER.pack(self.revision, self.history.compact_revision))
        for key, value, create_revision, mod_revision in self.view():
            digest.update(_HEADER.pack(create_revision, mod_revision))
            digest.update(_HEADER.pack(len(key), len(value)))
            digest.update(key.encode())
            digest.update(value)
        digest.update(_HEADER.pack(self.now_ms, self.requests.floor_ms))
        for remembered in self.requests:
            digest.update(remembered.nonce)
            digest.update(_HEADER.pack(remembered.issued_at_ms, remembered.outcome.revision))
        digest.update(_HEADER.pack(self.feature_level, 0))
        digest.update(self.history_hash)
        return digest.digest()

    def _apply_once(self, transaction: log_pb2.Transaction, editor: KeyspaceEditor) -> Outcome:
        """Apply unless this request was applied before, or is too old to tell."""
        if not transaction.HasField("request_id"):
            return self._execute(transaction, editor)
        request_id = transaction.request_id
        nonce, issued_at_ms = request_id.nonce, request_id.issued_at_ms
        earlier = self.requests.recall(nonce, issued_at_ms)
        if earlier is not None:
            return earlier._replace(replayed=True)
        refusal = self.requests.refusal(issued_at_ms, now_ms=self.now_ms)
        if refusal:
            return Outcome(self.revision, Failure(FailureKind.EXPIRED, message=refusal, now_ms=self.now_ms))
        outcome = self._execute(transaction, editor)
        # A guard of the proposer's own failed: it decides again, under the same id.
        if outcome.failure is None or outcome.failure.client:
            self.requests.remember(nonce, issued_at_ms, outcome)
        return outcome

    def _execute(self, transaction: log_pb2.Transaction, editor: KeyspaceEditor) -> Outcome:
        for guard in transaction.guards:
            found = editor.get(guard.key)
            actual = 0 if found is None else found.mod_revision
            if actual != guard.mod_revision:
                failure = Failure(FailureKind.GUARD, guard.operation, guard.key, guard.client, actual)
                return Outcome(self.revision, failure)
        mutations = transaction.mutations
        malformed = _malformed(mutations)
        if malformed is not None:
            return Outcome(self.revision, malformed)
        revision = self.revision + 1
        changes = []
        for mutation in mutations:
            change = self._mutate(mutation, revision, editor)
            if change is not None:
                changes.append(change)
        if not changes:
            return Outcome(self.revision)
        self.history.append(RevisionRecord(revision, self.now_ms, tuple(changes), transaction.author))
        return Outcome(revision)

    def _mutate(self, mutation: log_pb2.Mutation, revision: int, editor: KeyspaceEditor) -> Change | None:
        key = mutation.key
        previous = editor.get(key)
        if mutation.HasField("value"):
            created = revision if previous is None else previous.create_revision
            current = KeyValue(key, mutation.value, created, revision)
            editor.set(key, current)
            self._objects += previous is None
            return Change(key, revision, current, previous)
        if previous is None:
            return None
        editor.delete(key)
        self._objects -= 1
        return Change(key, revision, None, previous)


def _malformed(mutations: Sequence[log_pb2.Mutation]) -> Failure | None:
    for mutation in mutations:
        key = mutation.key
        if key[:1] != "/" or key[-1:] == "/":
            return Failure(FailureKind.INVALID, key=key, message=f"{key!r} is not a key")
    if len(mutations) > 1 and len({mutation.key for mutation in mutations}) != len(mutations):
        return Failure(FailureKind.INVALID, message="one transaction changes the same key twice")
    return None


def _chain(previous: bytes, records: Iterable[RevisionRecord]) -> bytes:
    """The hash of all changes up to `records`, given that of all before them."""
    pieces = [previous]
    for record in records:
        for change in record.changes:
            key = change.key.encode()
            value = b"" if change.current is None else change.current.value
            is_deletion = change.current is None
            pieces += (_CHANGE.pack(change.revision, len(key), len(value), is_deletion), key, value)
    return hashlib.blake2b(b"".join(pieces), digest_size=16).digest()
