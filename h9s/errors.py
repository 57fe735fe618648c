"""Every error that crosses a seam, and the one table from exception to gRPC code to exit code.

A message says what was wrong, where, and what to do about it. Code that can do something about an
error catches its class; everything else lets it pass. This module maps; it does no I/O and knows
no transport: `grpc_code` is the name of a `grpc.StatusCode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldFault:
    """One fault of an invalid object: where (`spec.replicas`) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class H9sError(Exception):
    """The base of all errors that a user or another process gets to see."""

    reason: ClassVar[str] = "Internal"
    grpc_code: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1
    #: Whether the same call may be tried again (with the same request id).
    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, operation: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        #: Which operation of a Commit failed, from 0.
        self.operation = operation


class InternalError(H9sError):
    """A fault of h9s itself."""


class InvalidError(H9sError):
    """The object or the request breaks a rule; nothing was changed."""

    reason = "Invalid"
    grpc_code = "INVALID_ARGUMENT"

    def __init__(
        self, message: str, *, faults: Sequence[FieldFault] = (), operation: int | None = None
    ) -> None:
        super().__init__(message, operation=operation)
        self.faults = tuple(faults)


class NotFoundError(H9sError):
    """There is no such object."""

    reason = "NotFound"
    grpc_code = "NOT_FOUND"


class AlreadyExistsError(H9sError):
    """A create met an object of that name."""

    reason = "AlreadyExists"
    grpc_code = "ALREADY_EXISTS"


class ConflictError(H9sError):
    """A precondition of the client's does not hold (a stale resourceVersion, another uid)."""

    reason = "Conflict"
    grpc_code = "ABORTED"


class RefusedError(H9sError):
    """Understood and allowed, but not in the state that things are in; nothing was done."""

    reason = "Refused"
    grpc_code = "FAILED_PRECONDITION"


class UnauthenticatedError(H9sError):
    """The caller did not prove who it is."""

    reason = "Unauthenticated"
    grpc_code = "UNAUTHENTICATED"


class ForbiddenError(H9sError):
    """The caller may not do this."""

    reason = "Forbidden"
    grpc_code = "PERMISSION_DENIED"


class NotLeaderError(H9sError):
    """This replica does not lead; `leader_address` says who does, if known ("host:port" or "")."""

    reason = "NotLeader"
    grpc_code = "FAILED_PRECONDITION"
    retriable = True

    def __init__(self, message: str, *, leader_address: str = "", operation: int | None = None) -> None:
        super().__init__(message, operation=operation)
        self.leader_address = leader_address


class UnavailableError(H9sError):
    """No leader, leadership lost in the middle, or no connection. The fate of a write is open
    until its request id has been tried again."""

    reason = "Unavailable"
    grpc_code = "UNAVAILABLE"
    retriable = True


class TimeoutExpiredError(H9sError):
    """The caller's deadline passed. The fate of a write is open."""

    reason = "Timeout"
    grpc_code = "DEADLINE_EXCEEDED"


class CompactedError(H9sError):
    """The revision asked for is below the floor of the history: list again."""

    reason = "Compacted"
    grpc_code = "OUT_OF_RANGE"


class HistoryNotHeldError(H9sError):
    """This replica has not kept the revision asked for, although the cluster has not forgotten it:
    another replica may have it."""

    reason = "HistoryNotHeld"
    grpc_code = "OUT_OF_RANGE"


class FutureRevisionError(H9sError):
    """The revision asked for does not exist yet."""

    reason = "FutureRevision"
    grpc_code = "OUT_OF_RANGE"


class TooLargeError(H9sError):
    """A request or an object is above the limit."""

    reason = "TooLarge"
    grpc_code = "RESOURCE_EXHAUSTED"


class OverloadedError(H9sError):
    """A queue is full; nothing was done."""

    reason = "Overloaded"
    grpc_code = "RESOURCE_EXHAUSTED"
    retriable = True


class DiskFullError(H9sError):
    """The leader's disk is nearly full: nothing that adds data is taken. Nothing was done."""

    reason = "DiskFull"
    grpc_code = "RESOURCE_EXHAUSTED"


class RequestExpiredError(H9sError):
    """A request id older than the oldest one remembered: this attempt did nothing, an earlier one
    may have. `server_time_ms` lets a client with a wrong clock correct it."""

    reason = "RequestExpired"
    grpc_code = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, server_time_ms: int = 0, operation: int | None = None) -> None:
        super().__init__(message, operation=operation)
        self.server_time_ms = server_time_ms


class UsageError(H9sError):
    """A command line or a configuration that cannot be understood."""

    reason = "Usage"
    grpc_code = "INVALID_ARGUMENT"
    exit_code = 2


class DamagedError(H9sError):
    """Data on disk is not what was written."""

    reason = "Damaged"
    grpc_code = "DATA_LOSS"


class UnsupportedError(H9sError):
    """Understood, but this component cannot do it."""

    reason = "Unsupported"
    grpc_code = "UNIMPLEMENTED"


#: Reason on the wire -> class.
BY_REASON: dict[str, type[H9sError]] = {cls.reason: cls for cls in H9sError.__subclasses__()}
