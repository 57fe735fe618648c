"""A watch that outlives its streams: it goes on where it was, on whichever replica answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from h9s._pb import api_pb2
from h9s.client import metrics
from h9s.client.calls import Calls
from h9s.client.retry import is_retriable
from h9s.client.transport import WATCH
from h9s.errors import H9sError, TimeoutExpiredError, UnavailableError

logger = logging.getLogger(__name__)


async def watch(calls: Calls, request: api_pb2.WatchRequest) -> AsyncGenerator[api_pb2.WatchResponse, None]:
    """Every response after `request.after_revision` (which must be set) once, in order, bookmarks
    that move the position included.

    A stream that breaks, or is silent beyond the policy's `liveness`, is replaced by one from the last
    revision seen, on another replica. Raises CompactedError where the history no longer reaches back
    there, TimeoutExpiredError where no replica has served the watch for the policy's `deadline`, and
    errors that trying again does not mend.
    """
    position = request.after_revision
    backoff = calls.backoff()
    last_success = calls.clock.monotonic()
    streams = 0
    while True:
        server = calls.servers.for_reading()
        assert server is not None, "with nothing tried yet there always is a server"
        opened = calls.clock.monotonic()
        streams += 1
        if streams > 1:
            metrics.RECONNECTS.labels(calls.name, WATCH.name).inc()
        request.after_revision = position
        try:
            async with aclosing(calls.transport.stream(server, WATCH, request)) as stream:
                while True:
                    async with asyncio.timeout(calls.policy.liveness):
                        response = await anext(stream, None)
                    if response is None:
                        raise UnavailableError(f"{server} ended the watch")
                    last_success = calls.clock.monotonic()
                    calls.servers.answered(server)
                    backoff.reset()
                    if response.revision > position:
                        position = response.revision
                        yield response
        except TimeoutError:
            error: H9sError = TimeoutExpiredError(f"{server}: the watch was silent for too long")
        except H9sError as raised:
            if not is_retriable(raised):
                raise
            error = raised
        now = calls.clock.monotonic()
        if now - last_success > calls.policy.deadline:
            raise TimeoutExpiredError(
                f"no replica has served the watch for {now - last_success:.0f} s: {error.message}"
            ) from error
        logger.debug("watch after revision %d continues elsewhere: %s", position, error.message)
        calls.failed(server, error, started=max(opened, last_success))
        await asyncio.sleep(backoff.next())
