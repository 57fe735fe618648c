"""The answer to a retried Commit: what its first attempt did, told from the history.

The state machine remembers an outcome, not the objects; they are what the store held at the
outcome's revision. Most retries come soon after the first attempt and are answered from memory; the
others take a look into the archive. Pure but for reading the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from h9s._pb import api_pb2
from h9s.api.keys import object_key
from h9s.api.kinds import Kind, kind_by, kind_of
from h9s.api.objects import from_any, type_url
from h9s.apiserver import naming
from h9s.apiserver.transactions import Result
from h9s.errors import CompactedError, HistoryNotHeldError
from h9s.store.model import Change, KeyRange, KeyValue
from h9s.store.past import Past
from h9s.store.protocol import Store

_NOTHING = Result("", b"", 0, 0)


def replayed_results(
    store: Store, operations: Sequence[api_pb2.Operation], *, revision: int, seed: bytes
) -> list[Result] | None:
    """One result per operation of a Commit that succeeded at `revision`; None if that is not in memory."""
    if revision < store.recent_revision:
        return None
    changes = _changes_at(store, revision)
    return _results(operations, seed, revision, changes, partial(_as_of, store, revision, changes))


def old_results(
    past: Past, operations: Sequence[api_pb2.Operation], *, revision: int, seed: bytes
) -> list[Result]:
    """The same from the whole history; all empty once the revision is forgotten."""

    def as_of(key: str) -> KeyValue | None:
        return past.view(revision, KeyRange.only(key)).get(key)

    try:
        changes = {change.key: change for change in past.record(revision).changes}
        return _results(operations, seed, revision, changes, as_of)
    except (CompactedError, HistoryNotHeldError):
        return [_NOTHING] * len(operations)


def _results(
    operations: Sequence[api_pb2.Operation],
    seed: bytes,
    revision: int,
    changes: dict[str, Change],
    as_of: Callable[[str], KeyValue | None],
) -> list[Result]:
    results = []
    for index, operation in enumerate(operations):
        kind, key = _key_of(operation, index, seed, changes)
        found = as_of(key)
        change = changes.get(key)
        if found is not None:
            results.append(Result(type_url(kind), found.value, found.create_revision, found.mod_revision))
        elif change is not None and change.previous is not None and operation.verb != api_pb2.Operation.CHECK:
            last = change.previous
            results.append(Result(type_url(kind), last.value, last.create_revision, revision))
        else:
            results.append(_NOTHING)
    return results


def _changes_at(store: Store, revision: int) -> dict[str, Change]:
    """What the revision changed, by key; nothing where it is the last that memory lacks."""
    if revision <= store.recent_revision:
        return {}
    ((_, changes),) = store.changes(revision - 1, limit=1)
    return {change.key: change for change in changes}


def _as_of(store: Store, revision: int, changes: dict[str, Change], key: str) -> KeyValue | None:
    """The key's value at `revision`.

    Going back there costs time in proportion to what has happened since, and after a failover there are
    thousands of retries: it is left for what the request has not changed and others have since.
    """
    change = changes.get(key)
    if change is not None:
        return change.current
    found = store.view().get(key)
    if found is not None and found.mod_revision <= revision:
        return found
    return store.view(revision).get(key) if revision else None


def _key_of(
    operation: api_pb2.Operation, index: int, seed: bytes, changes: dict[str, Change]
) -> tuple[Kind, str]:
    if not operation.HasField("object"):
        kind = kind_by(operation.key.group, operation.key.kind)
        return kind, object_key(kind, operation.key.namespace, operation.key.name)
    sent = from_any(operation.object)
    kind, metadata = kind_of(sent), sent.metadata
    if metadata.name:
        return kind, object_key(kind, metadata.namespace, metadata.name)
    names = (
        naming.generated_name(metadata.generate_name, seed=seed, operation=index, attempt=attempt)
        for attempt in range(naming.ATTEMPTS)
    )
    keys = [object_key(kind, metadata.namespace, name) for name in names]
    return kind, next((key for key in keys if key in changes), keys[0])
