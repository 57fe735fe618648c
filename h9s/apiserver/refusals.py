"""What a request is refused with: the errors about objects, worded in one place."""

from __future__ import annotations

from collections.abc import Sequence

from h9s._pb import api_pb2
from h9s.api.keys import parse_key
from h9s.api.kinds import ApiObject, Kind
from h9s.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldFault,
    H9sError,
    InvalidError,
    NotFoundError,
)
from h9s.store.model import Failure


def error_of_failure(failure: Failure, operations: Sequence[api_pb2.Operation]) -> H9sError:
    """What a failed guard of the client's means to it."""
    kind, namespace, name = parse_key(failure.key)
    verb = operations[failure.operation].verb
    error: H9sError
    if verb == api_pb2.Operation.CREATE:
        error = already_exists(kind, namespace, name)
    elif failure.actual_revision == 0 and verb != api_pb2.Operation.CHECK:
        error = not_found(kind, namespace, name)
    else:
        error = stale(kind, namespace, name, failure.actual_revision)
    error.operation = failure.operation
    return error


def invalid(kind: Kind, name: str, faults: Sequence[FieldFault]) -> InvalidError:
    """The object has these faults."""
    listed = "; ".join(str(fault) for fault in faults)
    return InvalidError(f"{kind.kind} {name!r} is invalid: {listed}", faults=faults)


def not_found(kind: Kind, namespace: str, name: str) -> NotFoundError:
    """There is no such object."""
    return NotFoundError(f"{_describe(kind, namespace, name)} not found")


def already_exists(kind: Kind, namespace: str, name: str) -> AlreadyExistsError:
    """The name is taken."""
    return AlreadyExistsError(f"{_describe(kind, namespace, name)} already exists")


def stale(kind: Kind, namespace: str, name: str, revision: int) -> ConflictError:
    """The object is at `revision` (0: absent), not at the one that the client has seen."""
    now = f"is at resourceVersion {revision}" if revision else "does not exist"
    return ConflictError(
        f"{_describe(kind, namespace, name)} has changed: it {now} now; read it again and repeat the change"
    )


def other_uid(kind: Kind, current: ApiObject, wanted: str) -> ConflictError:
    """An object of that name exists, but not the one that the client means."""
    metadata = current.metadata
    return ConflictError(
        f"{_describe(kind, metadata.namespace, metadata.name)} is another one than meant: "
        f"its uid is {metadata.uid}, not {wanted}"
    )


def require_scope(kind: Kind, namespace: str) -> None:
    """Raise InvalidError unless a namespace is given exactly where the kind has one."""
    if kind.namespaced and not namespace:
        raise InvalidError(f"{kind.kind} lives in a namespace, and none is given (metadata.namespace)")
    if namespace and not kind.namespaced:
        raise InvalidError(f"{kind.kind} lives in no namespace; {namespace!r} is given (metadata.namespace)")


def _describe(kind: Kind, namespace: str, name: str) -> str:
    """`Pod "web" in namespace "default"`."""
    return f'{kind.kind} "{name}"' + (f' in namespace "{namespace}"' if namespace else "")
