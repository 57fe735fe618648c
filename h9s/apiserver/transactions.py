"""What a Commit means: operations and a view in, one transaction out, or the reason why not.

Pure. A decision reads nothing but its arguments, and everything it read of the view becomes a guard
of the transaction: where a guard does not hold any more when the transaction is applied, nothing
happens and the caller decides again. Guards marked `client` stand for what the client itself asked
for (a resourceVersion, that a name is free); their failure is the answer.

Later operations of a Commit see what earlier ones did, so that a namespace and what lives in it can
be created together.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, core_pb2, log_pb2
from h9s.api import defaults, validation
from h9s.api.keys import object_key
from h9s.api.kinds import ApiObject, Kind, kind_by, kind_of
from h9s.api.objects import decode, encode, from_any, type_url
from h9s.apiserver import lifecycle, naming, refusals
from h9s.apiserver.authorization import authorize_write
from h9s.errors import (
    ForbiddenError,
    H9sError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from h9s.pki import ROLE_NODE, Identity
from h9s.store.model import KeyValue
from h9s.store.protocol import View

MAX_OPERATIONS = 1000
MAX_TRANSACTION_BYTES = 1536 * 1024
_CREATE = api_pb2.Operation.CREATE
_UPDATE = api_pb2.Operation.UPDATE
_UPDATE_STATUS = api_pb2.Operation.UPDATE_STATUS
_DELETE = api_pb2.Operation.DELETE
_CHECK = api_pb2.Operation.CHECK


class Result(NamedTuple):
    """One operation's answer: stored bytes and revisions, 0 standing for the transaction's own."""

    type_url: str
    value: bytes
    create_revision: int
    mod_revision: int


class Decision(NamedTuple):
    """What to propose, and what to answer once it is applied. `transaction` lacks its request id."""

    transaction: log_pb2.Transaction
    results: list[Result]


class Refusal(NamedTuple):
    """Why the operations cannot be done. `final`: the state of the store had no part in it."""

    error: H9sError
    final: bool


class Context(NamedTuple):
    """What a decision depends on beside the operations and the view."""

    caller: Identity
    #: Whole seconds, as objects carry it.
    now: Timestamp
    #: For uids.
    rng: random.Random
    #: The same for every decision on one request, so that it generates the same names.
    seed: bytes


def decide(operations: Sequence[api_pb2.Operation], view: View, context: Context) -> Decision | Refusal:
    """One transaction that does all of the operations, or why there is none."""
    draft = _Draft(view, context)
    index = 0
    try:
        if not 0 < len(operations) <= MAX_OPERATIONS:
            raise _bad_count(len(operations))
        for index, operation in enumerate(operations):
            draft.add(index, operation)
        return draft.finish()
    except H9sError as error:
        if error.operation is None:
            error.operation = index
        return Refusal(error, final=not draft.has_read)


class _Slot:
    """A key that the decision has read: as it was, and as the operations so far leave it."""

    __slots__ = ("base", "client", "operation", "value")

    def __init__(self, base: KeyValue | None, operation: int) -> None:
        self.base = base
        self.value = None if base is None else base.value
        self.operation = operation
        self.client = False

    @property
    def revision(self) -> int:
        """The key's mod_revision before the transaction; 0 if absent."""
        return 0 if self.base is None else self.base.mod_revision

    @property
    def changed(self) -> bool:
        return self.value != (None if self.base is None else self.base.value)


class _Draft:
    """A transaction in the making."""

    def __init__(self, view: View, context: Context) -> None:
        self._view = view
        self._context = context
        self._slots: dict[str, _Slot] = {}
        self._results: list[tuple[Kind, _Slot]] = []

    @property
    def has_read(self) -> bool:
        """Whether anything of the view has been looked at."""
        return bool(self._slots)

    def add(self, index: int, operation: api_pb2.Operation) -> None:
        """Do one more operation. Raises H9sError if it cannot be done."""
        verb = operation.verb
        if verb == _CREATE:
            self._create(index, operation)
        elif verb in (_UPDATE, _UPDATE_STATUS):
            self._update(index, operation)
        elif verb == _DELETE:
            self._delete(index, operation)
        elif verb == _CHECK:
            self._check(index, operation)
        else:
            raise InvalidError("the operation has no verb")

    def finish(self) -> Decision:
        """The transaction and its results."""
        transaction = log_pb2.Transaction()
        for key, slot in self._slots.items():
            guard = transaction.guards.add()
            guard.key = key
            guard.mod_revision = slot.revision
            guard.client = slot.client
            guard.operation = slot.operation
            if slot.changed:
                mutation = transaction.mutations.add()
                mutation.key = key
                if slot.value is not None:
                    mutation.value = slot.value
        size = transaction.ByteSize()
        if size > MAX_TRANSACTION_BYTES:
            raise TooLargeError(
                f"the commit takes {size} bytes; at most {MAX_TRANSACTION_BYTES} are possible"
            )
        return Decision(transaction, [_result(kind, slot) for kind, slot in self._results])

    def _create(self, index: int, operation: api_pb2.Operation) -> None:
        new = from_any(operation.object)
        kind = kind_of(new)
        metadata = new.metadata
        generated = not metadata.name and bool(metadata.generate_name)
        if generated:
            metadata.name = self._generate(metadata.generate_name, index, 0)
        self._authorize(operation, kind, metadata.name, None)
        refusals.require_scope(kind, metadata.namespace)
        if metadata.resource_version:
            raise InvalidError("metadata.resourceVersion must not be set on an object to be created")
        context = self._context
        keep_liveness = context.caller.role == ROLE_NODE
        lifecycle.prepare_create(
            kind, new, uid=naming.new_uid(context.rng), now=context.now, keep_liveness=keep_liveness
        )
        defaults.set_defaults(new)
        faults = validation.validate_create(new)
        if faults:
            raise refusals.invalid(kind, metadata.name, faults)
        if kind.namespaced:
            self._require_open_namespace(metadata.namespace, index)
        slot = self._free_slot(kind, new, index, generated=generated)
        lifecycle.drop_empty_parts(kind, new)
        slot.value = encode(new)
        self._results.append((kind, slot))

    def _free_slot(self, kind: Kind, new: ApiObject, index: int, *, generated: bool) -> _Slot:
        metadata = new.metadata
        for attempt in range(1, naming.ATTEMPTS + 1):
            slot = self._slot(object_key(kind, metadata.namespace, metadata.name), index)
            if slot.value is None:
                # A generated name that is taken meanwhile is no answer: decide again for another.
                if slot.base is None and not generated:
                    slot.client, slot.operation = True, index
                return slot
            if not generated:
                break
            metadata.name = self._generate(metadata.generate_name, index, attempt)
        raise refusals.already_exists(kind, metadata.namespace, metadata.name)

    def _update(self, index: int, operation: api_pb2.Operation) -> None:
        new = from_any(operation.object)
        kind = kind_of(new)
        metadata = new.metadata
        if not metadata.name:
            raise InvalidError("metadata.name must be set on an object to be updated")
        refusals.require_scope(kind, metadata.namespace)
        status_only = operation.verb == _UPDATE_STATUS
        if status_only and not kind.has_status:
            raise InvalidError(f"{kind.kind} has no status")
        revision = _parse_revision(metadata.resource_version)
        slot = self._slot(object_key(kind, metadata.namespace, metadata.name), index)
        old = self._decode(kind, slot)
        self._authorize(operation, kind, metadata.name, old)
        if old is None:
            raise refusals.not_found(kind, metadata.namespace, metadata.name)
        if metadata.uid and metadata.uid != old.metadata.uid:
            raise refusals.other_uid(kind, old, metadata.uid)
        if revision is not None:
            self._require_revision(kind, old, slot, revision, index)
        self._require_preconditions(kind, old, slot, operation, index)
        if status_only:
            keep_liveness = self._context.caller.role == ROLE_NODE
            new = lifecycle.with_status(old, new, keep_liveness=keep_liveness)
        else:
            lifecycle.prepare_update(kind, new, old)
            if revision is None:
                lifecycle.keep_namespace_finalizers(new, old)
        defaults.set_defaults(new)
        faults = validation.validate_update(new, old)
        if faults:
            raise refusals.invalid(kind, metadata.name, faults)
        if not status_only:
            lifecycle.count_generation(kind, new, old)
        lifecycle.drop_empty_parts(kind, new)
        slot.value = None if lifecycle.is_gone(new) else encode(new)
        self._results.append((kind, slot))

    def _delete(self, index: int, operation: api_pb2.Operation) -> None:
        kind, slot, target = self._target(index, operation)
        if target is None:
            raise refusals.not_found(kind, operation.key.namespace, operation.key.name)
        self._require_preconditions(kind, target, slot, operation, index)
        lifecycle.request_deletion(kind, target, operation, now=self._context.now)
        slot.value = None if lifecycle.is_gone(target) else encode(target)
        self._results.append((kind, slot))

    def _check(self, index: int, operation: api_pb2.Operation) -> None:
        kind, slot, target = self._target(index, operation)
        preconditions = operation.preconditions
        if target is not None:
            self._require_preconditions(kind, target, slot, operation, index)
        elif preconditions.mod_revision:
            raise refusals.stale(kind, operation.key.namespace, operation.key.name, 0)
        elif preconditions.HasField("mod_revision") and not preconditions.uid:
            slot.client, slot.operation = True, index
        else:
            raise refusals.not_found(kind, operation.key.namespace, operation.key.name)
        self._results.append((kind, slot))

    def _target(self, index: int, operation: api_pb2.Operation) -> tuple[Kind, _Slot, ApiObject | None]:
        key = operation.key
        kind = kind_by(key.group, key.kind)
        refusals.require_scope(kind, key.namespace)
        if not key.name:
            raise InvalidError(f"the key of the {kind.kind} has no name")
        slot = self._slot(object_key(kind, key.namespace, key.name), index)
        target = self._decode(kind, slot)
        self._authorize(operation, kind, key.name, target)
        return kind, slot, target

    def _require_preconditions(
        self, kind: Kind, target: ApiObject, slot: _Slot, operation: api_pb2.Operation, index: int
    ) -> None:
        if not operation.HasField("preconditions"):
            return
        preconditions = operation.preconditions
        if preconditions.uid and preconditions.uid != target.metadata.uid:
            raise refusals.other_uid(kind, target, preconditions.uid)
        if preconditions.HasField("mod_revision"):
            self._require_revision(kind, target, slot, preconditions.mod_revision, index)

    def _require_revision(
        self, kind: Kind, target: ApiObject, slot: _Slot, revision: int, index: int
    ) -> None:
        if slot.revision != revision:
            metadata = target.metadata
            raise refusals.stale(kind, metadata.namespace, metadata.name, slot.revision)
        slot.client, slot.operation = True, index

    def _require_open_namespace(self, name: str, index: int) -> None:
        slot = self._slot(object_key(lifecycle.NAMESPACE, "", name), index)
        if slot.value is None:
            if name in lifecycle.SYSTEM_NAMESPACES:
                # They are never deleted: the cluster is so new that its leader has not created them yet.
                raise UnavailableError(f'namespace "{name}" is about to be created: try again')
            raise NotFoundError(f'namespace "{name}" not found: create it first')
        if _is_terminating(slot.value):
            raise ForbiddenError(f'namespace "{name}" is being deleted: nothing can be created in it')

    def _slot(self, key: str, index: int) -> _Slot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot(self._view.get(key), index)
        return slot

    def _decode(self, kind: Kind, slot: _Slot) -> ApiObject | None:
        return None if slot.value is None else decode(kind, slot.value, 0)

    def _authorize(
        self, operation: api_pb2.Operation, kind: Kind, name: str, current: ApiObject | None
    ) -> None:
        authorize_write(self._context.caller, operation.verb, kind, name, current)

    def _generate(self, base: str, index: int, attempt: int) -> str:
        return naming.generated_name(base, seed=self._context.seed, operation=index, attempt=attempt)


def _result(kind: Kind, slot: _Slot) -> Result:
    base, value = slot.base, slot.value
    create_revision = 0 if base is None else base.create_revision
    if value is None:
        return Result(type_url(kind), b"" if base is None else base.value, create_revision, 0)
    return Result(type_url(kind), value, create_revision, 0 if slot.changed else slot.revision)


@lru_cache(maxsize=1024)
def _is_terminating(namespace: bytes) -> bool:
    return core_pb2.Namespace.FromString(namespace).metadata.HasField("deletion_timestamp")


def _parse_revision(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise InvalidError(f"metadata.resourceVersion {text!r} is not a revision")
    return int(text)


def _bad_count(count: int) -> H9sError:
    if not count:
        return InvalidError("the commit has no operations")
    return TooLargeError(f"the commit has {count} operations; at most {MAX_OPERATIONS} are possible")
