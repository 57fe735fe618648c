import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.client import RetryPolicy, WorkQueue
from h9s.clock import LoopClock
from h9s.errors import ConflictError
from h9s.testing.virtual_loop import run_virtual
from tests.unit.client.virtual import virtual


def new_queue(**kwargs):
    clock = LoopClock(asyncio.get_running_loop())
    return WorkQueue(name="test", clock=clock, rng=random.Random(1), **kwargs)


def now():
    return asyncio.get_running_loop().time()


@virtual
async def test_a_key_added_twice_is_worked_on_once():
    queue = new_queue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


@virtual
async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards():
    queue = new_queue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


@virtual
async def test_of_several_times_to_come_the_earliest_counts():
    queue = new_queue()
    queue.add_after("a", 5.0)
    queue.add_after("a", 2.0)
    queue.add_after("a", 9.0)
    await queue.get()
    assert now() == pytest.approx(2.0)
    queue.done("a")
    await asyncio.sleep(20.0)
    assert len(queue) == 0


@virtual
async def test_work_that_is_due_now_replaces_work_that_is_due_later():
    queue = new_queue()
    queue.add_after("a", 5.0)
    queue.add("a")
    await queue.get()
    queue.done("a")
    await asyncio.sleep(10.0)
    assert len(queue) == 0


@virtual
async def test_failures_in_a_row_wait_longer_until_forgotten():
    queue = new_queue(retry=RetryPolicy(initial=1.0, factor=2.0, maximum=5.0, jitter=0.0))

    async def wait():
        started = now()
        queue.add_rate_limited("a")
        await queue.get()
        queue.done("a")
        return round(now() - started, 3)

    assert [await wait() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    queue.forget("a")
    assert await wait() == 1.0


@virtual
async def test_a_worker_tries_again_what_failed_and_comes_back_when_asked_to():
    queue = new_queue()
    calls = []

    async def reconcile(key):
        calls.append((key, round(now(), 1)))
        if len(calls) == 1:
            raise ConflictError("somebody was faster")
        return 10.0 if len(calls) == 2 else None

    worker = asyncio.create_task(queue.work(reconcile))
    queue.add("a")
    await asyncio.sleep(30.0)
    worker.cancel()
    assert calls == [("a", 0.0), ("a", 0.0), ("a", 10.0)]


@virtual
async def test_an_unexpected_error_ends_the_workers():
    queue = new_queue()

    async def reconcile(key):
        raise ZeroDivisionError

    queue.add("a")
    with pytest.raises(ExceptionGroup) as caught:
        await queue.work(reconcile, workers=3)
    assert caught.group_contains(ZeroDivisionError)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 0.2)), max_size=40), st.integers(1, 4))
def test_no_key_is_worked_on_by_two_and_every_change_is_followed_by_work(additions, workers):
    async def main():
        queue = new_queue()
        version: dict[int, int] = {}
        seen: dict[int, int] = {}
        busy: set[int] = set()

        async def reconcile(key):
            assert key not in busy
            busy.add(key)
            seen[key] = version[key]
            await asyncio.sleep(0.05)
            busy.discard(key)

        worker = asyncio.create_task(queue.work(reconcile, workers=workers))
        for key, pause in additions:
            version[key] = version.get(key, 0) + 1
            queue.add(key)
            await asyncio.sleep(pause)
        await asyncio.sleep(10.0)
        assert seen == version
        assert not worker.done()
        worker.cancel()

    run_virtual(main)
