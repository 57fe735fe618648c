"""How an error reads on the terminal, and which exit code it gives. Pure.

kubectl's form, which scripts look for: `Error from server (NotFound): pods "web" not found` for what
the cluster refused, `error: ...` for everything else.
"""

from __future__ import annotations

from h9s.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    ForbiddenError,
    H9sError,
    InternalError,
    NotFoundError,
    OverloadedError,
    RequestExpiredError,
    TooLargeError,
    UnauthenticatedError,
)

_FROM_SERVER = (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    OverloadedError,
    RequestExpiredError,
    TooLargeError,
    UnauthenticatedError,
)


def explain(error: H9sError) -> str:
    """The message for stderr."""
    if isinstance(error, _FROM_SERVER):
        return f"Error from server ({error.reason}): {error.message}"
    return f"error: {error.message}"


def exit_code_of(error: H9sError) -> int:
    """1; 2 for a command line that cannot be understood."""
    return error.exit_code
