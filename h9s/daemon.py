"""The shell of every long-running process: logging, the event loop, signals, exit codes.

A daemon's `main` is one coroutine. SIGTERM and SIGINT cancel it and wait for it to clean up; any
other end of it is logged with its reason and becomes the exit code. Nothing here knows what the
process does.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import uvloop

from h9s.errors import H9sError

logger = logging.getLogger(__name__)

#: How often the garbage collector looks at young, middle and old objects. Python's default (700, 10,
#: 10) makes a process with many small long-lived objects spend several percent of its time looking.
_GC_THRESHOLDS = (20_000, 20, 50)

#: How long one thread may keep the interpreter from another. gRPC hands calls over from a thread of its
#: own; with Python's default (5 ms) they trickle in one by one while the event loop is busy, instead of
#: arriving together.
_SWITCH_SECONDS = 0.00005

#: A second signal does not wait any longer.
_EXIT_INTERRUPTED = 130


class LineFormatter(logging.Formatter):
    """One line per record: time (UTC), level, logger, message; a traceback is folded into the line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        text = super().format(record)
        return text.replace("\n", "\\n")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """ISO 8601 with milliseconds, in UTC."""
        del datefmt
        moment = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logging(name: str, *, level: str = "") -> None:
    """Log one line per record to stderr. `level` defaults to $H9S_LOG_LEVEL, then INFO."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s"))
    logging.basicConfig(
        level=(level or os.environ.get("H9S_LOG_LEVEL", "INFO")).upper(), handlers=[handler], force=True
    )
    logging.captureWarnings(True)


def freeze_startup_objects() -> None:
    """Take what exists now out of the garbage collector's sight, and let it look less often.

    Call it once the process has loaded its modules and state: a full collection then costs what
    was made since, not all that there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def run_daemon(main: Callable[[], Coroutine[Any, Any, None]], *, name: str, level: str = "") -> NoReturn:
    """Run `main()` until it ends or a signal comes, then leave the process.

    Exit codes: 0 after SIGTERM, SIGINT or a normal return; an `H9sError`'s own code (its message is
    logged, without a traceback); 1 for anything else, an error of ours that nothing awaited included.
    """
    configure_logging(name, level=level)
    sys.exit(run(main, name=name))


def run(main: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> int:
    """`run_daemon` without logging set-up and without leaving: gives the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_supervise(main, name))
        except _StoppedError:
            logger.info("stopped")
            return 0
        except BaseException as error:  # noqa: BLE001  the process ends here, with the reason
            return _report(error)
    logger.info("finished")
    return 0


class _StoppedError(Exception):
    """A signal asked for the end, and main has cleaned up."""


async def _supervise(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    loop = asyncio.get_running_loop()
    fatal: list[BaseException] = []
    task = loop.create_task(main(), name=f"{name}-main")
    stopping = False

    def stop(number: signal.Signals) -> None:
        nonlocal stopping
        if stopping:
            logger.warning("%s again: leaving without waiting", number.name)
            os._exit(_EXIT_INTERRUPTED)
        stopping = True
        logger.info("%s: stopping", number.name)
        task.cancel()

    def fail(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        logger.error("nothing awaited this error: %s", context.get("message"), exc_info=error)
        if _is_ours(error):
            fatal.append(error)
            task.cancel()

    def fail_unraisable(unraisable: Any) -> None:
        error = unraisable.exc_value or RuntimeError(str(unraisable.err_msg))
        context = {"message": f"{unraisable.err_msg} {unraisable.object!r}", "exception": error}
        loop.call_soon_threadsafe(fail, loop, context)

    loop.set_exception_handler(fail)
    loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
    previous_hook = sys.unraisablehook
    sys.unraisablehook = fail_unraisable
    freeze_startup_objects()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        await task
    except asyncio.CancelledError:
        if fatal:
            raise fatal[0] from None
        if stopping:
            raise _StoppedError from None
        raise
    finally:
        sys.unraisablehook = previous_hook
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


def _is_ours(error: BaseException) -> bool:
    """Whether h9s's code was running when it was raised. A library's loose end (a destructor, a
    poller's spurious wake-up) is logged and must not take a replica down."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).startswith("h9s.") for frame, _ in frames)


def _report(error: BaseException) -> int:
    """Log why the process ends and give its exit code."""
    cause = _innermost(error)
    if isinstance(cause, H9sError):
        logger.critical("%s", cause.message)
        return cause.exit_code
    if isinstance(cause, SystemExit):
        return cause.code if isinstance(cause.code, int) else 1
    logger.critical("%s: %s", type(cause).__name__, cause, exc_info=error)
    return 1


def _innermost(error: BaseException) -> BaseException:
    """The one error in a group of groups of one; else the error itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
