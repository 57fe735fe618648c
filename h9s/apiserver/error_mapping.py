"""Errors on the wire: an exception's gRPC status and its `ErrorDetail`.

The table itself is `h9s.errors`; the way back is the client's. An error that is not one of ours is
a fault of h9s: it is logged with its traceback and the caller learns no more than that.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc
import grpc.aio

from h9s._pb import api_pb2
from h9s.client.error_detail import TRAILER
from h9s.errors import H9sError, InternalError, InvalidError, NotLeaderError, RequestExpiredError

logger = logging.getLogger(__name__)


def detail_of(error: H9sError) -> api_pb2.ErrorDetail:
    """What travels beside the status."""
    detail = api_pb2.ErrorDetail(reason=error.reason, message=error.message, operation=error.operation)
    if isinstance(error, InvalidError):
        detail.field_errors.extend(
            api_pb2.FieldError(path=fault.path, message=fault.message) for fault in error.faults
        )
    elif isinstance(error, NotLeaderError):
        detail.leader_address = error.leader_address
    elif isinstance(error, RequestExpiredError):
        detail.server_time_ms = error.server_time_ms
    return detail


def as_ours(error: Exception, *, doing: str) -> H9sError:
    """`error` itself if it is ours, else an InternalError; the cause is logged."""
    if isinstance(error, H9sError):
        return error
    logger.error("%s failed: %s: %s", doing, type(error).__name__, error, exc_info=error)
    return InternalError(f"{doing} failed inside the apiserver: {type(error).__name__}; its log says more")


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: H9sError) -> NoReturn:
    """End the call with the error's status, message and detail."""
    await context.abort(
        grpc.StatusCode[error.grpc_code],
        error.message,
        ((TRAILER, detail_of(error).SerializeToString()),),
    )
    raise AssertionError("abort returned")
