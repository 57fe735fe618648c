"""The whole state as bytes and back: keys, history, request table, clock.

`capture` takes an immutable picture in the time of copying some lists of references; encoding it may
then go on elsewhere while the state machine works on. A decoded state machine equals the captured one
in its `state_hash`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from h9s._pb import log_pb2
from h9s.errors import InvalidError
from h9s.store.keyspace import EMPTY, KeyspaceEditor
from h9s.store.model import Change, Failure, FailureKind, KeyValue, Outcome, RevisionRecord
from h9s.store.requests import Remembered
from h9s.store.sorted_keys import Groups, sorted_in_runs

FORMAT_VERSION = 1

#: About how much one part holds, in bytes.
_PART_BYTES = 128 << 10
_ITEM_OVERHEAD = 64


class StateSnapshot(NamedTuple):
    """Everything replicated, at one moment. Immutable."""

    groups: Groups
    objects: int
    revision: int
    #: The floor of the history.
    compact_revision: int
    #: `history` begins after this; what is between the floor and this is in archives.
    recent_revision: int
    now_ms: int
    request_floor_ms: int
    history_hash: bytes
    history: tuple[RevisionRecord, ...]
    requests: tuple[Remembered, ...]
    feature_level: int = 1


def encode(snapshot: StateSnapshot) -> Iterator[bytes]:
    """The parts, each small enough to be made without a noticeable pause."""
    header = log_pb2.SnapshotHeader(
        format_version=FORMAT_VERSION,
        revision=snapshot.revision,
        compact_revision=snapshot.recent_revision,
        history_floor=snapshot.compact_revision,
        now_ms=snapshot.now_ms,
        request_floor_ms=snapshot.request_floor_ms,
        history_hash=snapshot.history_hash,
        items=snapshot.objects,
        requests=len(snapshot.requests),
        feature_level=snapshot.feature_level,
    )
    yield log_pb2.SnapshotPart(header=header).SerializeToString()
    part, size = log_pb2.SnapshotPart(), 0
    for item in _in_order(snapshot.groups):
        _fill_item(part.items.add(), item)
        size += _ITEM_OVERHEAD + len(item.value)
        if size >= _PART_BYTES:
            yield part.SerializeToString()
            part, size = log_pb2.SnapshotPart(), 0
    for record in snapshot.history:
        size += _fill_revision(part.revisions.add(), record)
        if size >= _PART_BYTES:
            yield part.SerializeToString()
            part, size = log_pb2.SnapshotPart(), 0
    for remembered in snapshot.requests:
        _fill_request(part.requests.add(), remembered)
        size += _ITEM_OVERHEAD
        if size >= _PART_BYTES:
            yield part.SerializeToString()
            part, size = log_pb2.SnapshotPart(), 0
    yield part.SerializeToString()


def _in_order(groups: Groups) -> Iterator[KeyValue]:
    """All items by key."""
    for name in sorted(groups):
        group = groups[name]
        for key in sorted_in_runs(group):
            yield group[key]


def decode(parts: Iterable[bytes]) -> StateSnapshot:
    """The captured state. Raises InvalidError for a format that is not known, or missing parts."""
    messages = map(log_pb2.SnapshotPart.FromString, parts)
    header = next(messages, log_pb2.SnapshotPart()).header
    if header.format_version != FORMAT_VERSION:
        raise InvalidError(f"the snapshot has format {header.format_version}; {FORMAT_VERSION} is known here")
    editor = KeyspaceEditor(EMPTY)
    objects = 0
    history: list[RevisionRecord] = []
    requests: list[Remembered] = []
    for part in messages:
        for item in part.items:
            editor.set(item.key, _item(item))
        objects += len(part.items)
        history.extend(map(_revision, part.revisions))
        requests.extend(map(_request, part.requests))
    found = (objects, len(history), len(requests))
    if found != (header.items, header.revision - header.compact_revision, header.requests):
        raise InvalidError("the snapshot is not complete")
    return StateSnapshot(
        groups=editor.finish(),
        objects=objects,
        revision=header.revision,
        compact_revision=_floor(header),
        recent_revision=header.compact_revision,
        now_ms=header.now_ms,
        request_floor_ms=header.request_floor_ms,
        history_hash=header.history_hash,
        history=tuple(history),
        requests=tuple(requests),
        feature_level=max(1, header.feature_level),
    )


def _floor(header: log_pb2.SnapshotHeader) -> int:
    """A version that had no archives wrote no floor of its own: everything above it was there."""
    return header.history_floor if header.HasField("history_floor") else header.compact_revision


def _fill_item(target: log_pb2.SnapshotItem, item: KeyValue) -> None:
    target.key = item.key
    target.value = item.value
    target.create_revision = item.create_revision
    target.mod_revision = item.mod_revision


def _item(source: log_pb2.SnapshotItem) -> KeyValue:
    return KeyValue(source.key, source.value, source.create_revision, source.mod_revision)


def _fill_revision(target: log_pb2.SnapshotRevision, record: RevisionRecord) -> int:
    target.revision = record.revision
    target.time_ms = record.time_ms
    target.author = record.author
    size = _ITEM_OVERHEAD
    for change in record.changes:
        filled = target.changes.add()
        for item, field in ((change.current, filled.current), (change.previous, filled.previous)):
            if item is not None:
                field.SetInParent()
                _fill_item(field, item)
                size += _ITEM_OVERHEAD + len(item.value)
    return size


def _revision(source: log_pb2.SnapshotRevision) -> RevisionRecord:
    changes = []
    for change in source.changes:
        current = _item(change.current) if change.HasField("current") else None
        previous = _item(change.previous) if change.HasField("previous") else None
        key = change.current.key or change.previous.key
        changes.append(Change(key, source.revision, current, previous))
    return RevisionRecord(source.revision, source.time_ms, tuple(changes), source.author)


def _fill_request(target: log_pb2.SnapshotRequest, remembered: Remembered) -> None:
    target.nonce = remembered.nonce
    target.issued_at_ms = remembered.issued_at_ms
    target.revision = remembered.outcome.revision
    failure = remembered.outcome.failure
    if failure is not None:
        target.failure.kind = failure.kind.value
        target.failure.operation = failure.operation
        target.failure.key = failure.key
        target.failure.client = failure.client
        target.failure.actual_revision = failure.actual_revision
        target.failure.message = failure.message


def _request(source: log_pb2.SnapshotRequest) -> Remembered:
    failure = None
    if source.HasField("failure"):
        failed = source.failure
        failure = Failure(
            FailureKind(failed.kind),
            failed.operation,
            failed.key,
            failed.client,
            failed.actual_revision,
            failed.message,
        )
    return Remembered(source.nonce, source.issued_at_ms, Outcome(source.revision, failure))
