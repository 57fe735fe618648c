"""A cancellation that must not get lost behind an error that came at the same moment."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Call where an `except*` has dealt with the errors of a TaskGroup, before going on.

    When a task is cancelled just as a child of its TaskGroup fails, Python 3.11 reports the failure
    only. Raises CancelledError if the running task was asked to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
