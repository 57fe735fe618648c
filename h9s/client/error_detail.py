"""From the wire's ErrorDetail back to the exception that the server raised."""

from __future__ import annotations

from h9s._pb import api_pb2
from h9s.errors import (
    BY_REASON,
    FieldFault,
    H9sError,
    InternalError,
    InvalidError,
    NotLeaderError,
    RequestExpiredError,
)

#: The key of the serialized ErrorDetail in a failed call's trailing metadata.
TRAILER = "h9s-error-bin"


def to_error(detail: api_pb2.ErrorDetail) -> H9sError:
    """The same exception class with the same fields; InternalError for a reason unknown here."""
    operation = detail.operation if detail.HasField("operation") else None
    cls = BY_REASON.get(detail.reason, InternalError)
    if issubclass(cls, InvalidError):
        faults = [FieldFault(fault.path, fault.message) for fault in detail.field_errors]
        return cls(detail.message, faults=faults, operation=operation)
    if issubclass(cls, NotLeaderError):
        return cls(detail.message, leader_address=detail.leader_address, operation=operation)
    if issubclass(cls, RequestExpiredError):
        return cls(detail.message, server_time_ms=detail.server_time_ms, operation=operation)
    return cls(detail.message, operation=operation)
