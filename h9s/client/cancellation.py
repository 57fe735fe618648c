"""A cancellation that must not get lost behind an error that came at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_group(main: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that holds a TaskGroup, from a loop that goes on after the group's failure.

    When a task is cancelled just as a child of its TaskGroup fails, Python 3.11 reports the failure
    alone; and a task whose TaskGroup failed looks as if it was being cancelled for ever after. So the
    group gets a task of its own, and this raises CancelledError where both happen at once.
    """
    caller = asyncio.current_task()
    assert caller is not None
    task = asyncio.get_running_loop().create_task(main)
    try:
        return await task
    except BaseException:
        if caller.cancelling():
            raise asyncio.CancelledError from None
        raise
