"""The state as a backup and back. A backup holds the keys and the remembered requests, no history.

A restored store goes on at a revision that the old cluster cannot have reached (`REVISION_GAP` above the
backup's), with all history before it compacted: whoever followed the old one is told to list again,
instead of waiting for revisions that mean something else now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from h9s._pb import backup_pb2
from h9s.errors import DamagedError
from h9s.store.keyspace import KeyspaceEditor
from h9s.store.model import ALL_KEYS, KeyValue
from h9s.store.past import Past
from h9s.store.snapshot import StateSnapshot
from h9s.store.snapshot import decode as decode_snapshot
from h9s.store.snapshot import encode as encode_snapshot

#: More revisions than a cluster makes in a day of nothing but writes.
REVISION_GAP = 10**9


def values_at(revision: int, past: Past) -> dict[str, KeyValue | None]:
    """What those keys were at `revision` that have changed since; for `rewound`.

    Raises CompactedError, HistoryNotHeldError, FutureRevisionError.
    """
    view = past.view(revision, ALL_KEYS)
    return {key: view.get(key) for key in view.changed}


def rewound(
    snapshot: StateSnapshot, before: Mapping[str, KeyValue | None], *, revision: int
) -> StateSnapshot:
    """The state at the earlier `revision`; `before` says what the keys that have changed since were then.

    The requests are those that had been done by then.
    """
    editor = KeyspaceEditor(snapshot.groups)
    objects = snapshot.objects
    for key, item in before.items():
        existing = editor.get(key)
        objects += (item is not None) - (existing is not None)
        if item is not None:
            editor.set(key, item)
        elif existing is not None:
            editor.delete(key)
    return snapshot._replace(
        groups=editor.finish(),
        objects=objects,
        revision=revision,
        requests=tuple(known for known in snapshot.requests if known.outcome.revision <= revision),
    )


def encode(snapshot: StateSnapshot, header: backup_pb2.BackupHeader) -> Iterator[bytes]:
    """The records of a backup, each small enough to be made without a noticeable pause."""
    digest = hashlib.sha256()
    requests = len(snapshot.requests)
    trailer = backup_pb2.BackupTrailer(items=snapshot.objects, requests=requests)
    for record in _records(snapshot, header):
        data = record.SerializeToString()
        digest.update(data)
        yield data
    trailer.sha256 = digest.digest()
    yield backup_pb2.BackupRecord(trailer=trailer).SerializeToString()


def _records(snapshot: StateSnapshot, header: backup_pb2.BackupHeader) -> Iterator[backup_pb2.BackupRecord]:
    yield backup_pb2.BackupRecord(header=header)
    revision = snapshot.revision
    plain = snapshot._replace(history=(), recent_revision=revision, compact_revision=revision)
    for data in encode_snapshot(plain):
        record = backup_pb2.BackupRecord()
        record.part.ParseFromString(data)
        yield record


def decode(records: Iterable[backup_pb2.BackupRecord]) -> StateSnapshot:
    """The state with which a new cluster begins: the same for the same records.

    Raises DamagedError, InvalidError where they do not fit together.
    """
    trailer = backup_pb2.BackupTrailer()

    def parts() -> Iterator[bytes]:
        for record in records:
            if record.HasField("part"):
                yield record.part.SerializeToString()
            elif record.HasField("trailer"):
                trailer.CopyFrom(record.trailer)

    snapshot = decode_snapshot(parts())
    if not trailer.sha256:
        raise DamagedError("the backup has no end")
    return moved_on(snapshot, seed=trailer.sha256)._replace(feature_level=1)


def moved_on(snapshot: StateSnapshot, *, seed: bytes) -> StateSnapshot:
    """The same keys at a revision that nobody has seen, without history. `seed`: at least 16 bytes, equal
    on all replicas, for the hash of the history that begins."""
    revision = snapshot.revision + REVISION_GAP
    return snapshot._replace(
        revision=revision,
        recent_revision=revision,
        compact_revision=revision,
        history=(),
        history_hash=seed[:16],
    )
