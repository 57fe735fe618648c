"""The API's objects in memory: what one apiserver's store would answer, without any of its rules.

Knows keys, revisions, preconditions, selectors and request ids. It neither defaults nor validates,
and a delete is done at once. For tests of clients; never for anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from h9s._pb import api_pb2
from h9s.api.fields import FieldSelector
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.labels import Selector
from h9s.api.objects import from_any, from_object, to_any
from h9s.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    FutureRevisionError,
    H9sError,
    NotFoundError,
)

#: group, kind, namespace, name.
Key = tuple[str, str, str, str]


@dataclass
class FakeObjects:
    """Objects with their history. Revisions are dense and start at 1."""

    revision: int = 0
    compact_revision: int = 0
    objects: dict[Key, api_pb2.Object] = field(default_factory=dict)
    history: list[api_pb2.WatchResponse] = field(default_factory=list)
    outcomes: dict[bytes, api_pb2.CommitResponse | H9sError] = field(default_factory=dict)

    def get(self, request: api_pb2.GetRequest) -> api_pb2.GetResponse:
        """As the RPC; old revisions are not read."""
        key = request.key
        stored = self.objects.get((key.group, key.kind, key.namespace, key.name))
        if stored is None:
            raise NotFoundError(f"{key.kind} {key.name!r} not found")
        return api_pb2.GetResponse(object=stored, revision=self.revision)

    def list(self, request: api_pb2.ListRequest) -> api_pb2.ListResponse:
        """As the RPC, `continue_token` included; pages after the first are read now, not then."""
        found = [
            stored
            for _, stored in sorted(self.objects.items(), key=lambda item: item[0])
            if _selects(request, stored)
        ]
        start = int(request.continue_token or 0)
        end = start + request.limit if request.limit else len(found)
        return api_pb2.ListResponse(
            objects=found[start:end],
            revision=self.revision,
            continue_token=str(end) if end < len(found) else "",
        )

    def changes(self, request: api_pb2.WatchRequest, after_revision: int) -> Iterable[api_pb2.WatchResponse]:
        """What the watcher gets after a revision, one response per revision that it selects from."""
        if after_revision < self.compact_revision:
            raise CompactedError(f"revision {after_revision} is compacted")
        if after_revision > self.revision:
            raise FutureRevisionError(f"revision {after_revision} is not here yet")
        for response in self.history[after_revision:]:
            events = [event for event in response.events if _selects(request, event.object)]
            if events:
                yield api_pb2.WatchResponse(revision=response.revision, events=events)

    def commit(self, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        """As the RPC: atomic, and once per request id."""
        nonce = request.request_id.nonce
        outcome = self.outcomes.get(nonce)
        if outcome is None:
            try:
                outcome = self._execute(request)
            except H9sError as error:
                outcome = error
            self.outcomes[nonce] = outcome
        elif isinstance(outcome, api_pb2.CommitResponse):
            outcome.replayed = True
        if isinstance(outcome, H9sError):
            raise outcome
        answer = api_pb2.CommitResponse()
        answer.CopyFrom(outcome)
        return answer

    def put(self, obj: ApiObject) -> None:
        """Create or replace an object, status and all, from outside of any client."""
        key = _key(obj)
        before = self.objects.get(key)
        self._change({key: (before, obj)})

    def remove(self, obj: ApiObject) -> None:
        """Delete an object from outside of any client."""
        key = _key(obj)
        self._change({key: (self.objects[key], None)})

    def compact(self) -> None:
        """Forget all history."""
        self.compact_revision = self.revision

    def _execute(self, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        changed: dict[Key, tuple[api_pb2.Object | None, ApiObject | None]] = {}
        keys: list[Key] = []
        for number, operation in enumerate(request.operations):
            try:
                key, before, after = self._decide(operation)
            except H9sError as error:
                error.operation = number
                raise
            keys.append(key)
            if operation.verb != api_pb2.Operation.CHECK:
                changed[key] = (before, after)
        answers = {key: before for key, (before, _) in changed.items() if before is not None}
        if changed and not request.dry_run:
            self._change(changed)
        answers |= {key: self.objects[key] for key in keys if key in self.objects}
        return api_pb2.CommitResponse(
            revision=self.revision, objects=[answers.get(key, api_pb2.Object()) for key in keys]
        )

    def _decide(self, operation: api_pb2.Operation) -> tuple[Key, api_pb2.Object | None, ApiObject | None]:
        verbs = api_pb2.Operation
        sent = from_any(operation.object) if operation.HasField("object") else None
        wanted = operation.key
        key = _key(sent) if sent else (wanted.group, wanted.kind, wanted.namespace, wanted.name)
        stored = self.objects.get(key)
        _check_preconditions(operation, key, stored)
        if operation.verb == verbs.CREATE:
            if stored is not None:
                raise AlreadyExistsError(f"{key[1]} {key[3]!r} already exists")
            assert sent is not None
            sent.metadata.uid = sent.metadata.uid or f"uid-{self.revision + 1}-{key[3]}"
            return key, None, sent
        if operation.verb == verbs.CHECK:
            return key, stored, None
        if stored is None:
            raise NotFoundError(f"{key[1]} {key[3]!r} not found")
        if operation.verb == verbs.DELETE:
            return key, stored, None
        assert sent is not None
        stale = sent.metadata.resource_version not in ("", str(stored.mod_revision))
        if stale:
            raise ConflictError(f"{key[1]} {key[3]!r} has changed")
        return key, stored, _merged(operation, sent, from_object(stored))

    def _change(self, changed: dict[Key, tuple[api_pb2.Object | None, ApiObject | None]]) -> None:
        self.revision += 1
        response = api_pb2.WatchResponse(revision=self.revision)
        for key, (before, after) in changed.items():
            event = response.events.add()
            if before is not None:
                event.previous.CopyFrom(before)
            if after is None:
                assert before is not None
                event.type = api_pb2.WatchEvent.DELETED
                event.object.CopyFrom(before)
                event.object.mod_revision = self.revision
                del self.objects[key]
                continue
            after.metadata.resource_version = ""
            event.type = api_pb2.WatchEvent.ADDED if before is None else api_pb2.WatchEvent.MODIFIED
            event.object.value.CopyFrom(to_any(after))
            event.object.create_revision = before.create_revision if before else self.revision
            event.object.mod_revision = self.revision
            self.objects[key] = event.object
        self.history.append(response)


def _key(obj: ApiObject) -> Key:
    kind = kind_of(obj)
    return kind.group, kind.kind, obj.metadata.namespace, obj.metadata.name


def _check_preconditions(operation: api_pb2.Operation, key: Key, stored: api_pb2.Object | None) -> None:
    wanted = operation.preconditions
    actual = stored.mod_revision if stored else 0
    if wanted.HasField("mod_revision") and wanted.mod_revision != actual:
        raise ConflictError(f"{key[1]} {key[3]!r} is at revision {actual}, not {wanted.mod_revision}")
    if wanted.uid and stored is not None and from_object(stored).metadata.uid != wanted.uid:
        raise ConflictError(f"{key[1]} {key[3]!r} is another object")


def _merged(operation: api_pb2.Operation, sent: ApiObject, current: ApiObject) -> ApiObject:
    """UPDATE keeps the status, UPDATE_STATUS everything else; the uid always stays."""
    if operation.verb == api_pb2.Operation.UPDATE_STATUS:
        base, status_of = current, sent
    else:
        base, status_of = sent, current
    base.metadata.uid = current.metadata.uid
    if "status" in base.DESCRIPTOR.fields_by_name:
        base.ClearField("status")  # type: ignore[arg-type]
        getattr(base, "status").CopyFrom(getattr(status_of, "status"))  # noqa: B009
    return base


def _selects(request: api_pb2.ListRequest | api_pb2.WatchRequest, stored: api_pb2.Object) -> bool:
    obj = from_object(stored)
    kind, wanted = kind_of(obj), request.key
    if wanted.kind and (wanted.group, wanted.kind) != (kind.group, kind.kind):
        return False
    if wanted.namespace not in ("", obj.metadata.namespace) or wanted.name not in ("", obj.metadata.name):
        return False
    labels = Selector.parse(request.label_selector)
    return labels.matches(obj.metadata.labels) and FieldSelector.parse(request.field_selector).matches(obj)
