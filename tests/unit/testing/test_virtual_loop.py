"""The virtual-time loop: waiting takes no time, order is that of real time, and every run is the same."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from h9s.clock import LoopClock
from h9s.testing.virtual_loop import DeadlockError, LivelockError, VirtualTimeLoop, run_virtual


def now():
    return asyncio.get_running_loop().time()


def test_waiting_takes_no_time_and_the_clock_shows_it():
    async def a_day():
        began = now()
        await asyncio.sleep(86_400)
        return began, now()

    began = time.perf_counter()
    assert run_virtual(a_day) == (0.0, 86_400.0)
    assert time.perf_counter() - began < 5


def test_timers_fire_in_the_order_of_their_time():
    async def main():
        fired = []

        def fire(delay):
            fired.append((delay, now()))

        for delay in (3.0, 1.0, 2.0):
            asyncio.get_running_loop().call_later(delay, fire, delay)
        await asyncio.sleep(10)
        return fired

    assert run_virtual(main) == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_nothing_happens_before_its_time():
    async def main():
        done = asyncio.ensure_future(asyncio.sleep(1.0))
        await asyncio.sleep(0.999)
        early = done.done()
        await asyncio.sleep(0.002)
        return early, done.done()

    assert run_virtual(main) == (False, True)


def test_what_is_ready_runs_before_time_goes_on():
    async def main():
        loop, seen = asyncio.get_running_loop(), []

        def again(left):
            seen.append(loop.time())
            if left:
                loop.call_soon(again, left - 1)

        loop.call_soon(again, 100)
        await asyncio.sleep(0.5)
        return seen

    assert set(run_virtual(main)) == {0.0}


def test_timeouts_work_and_are_exact():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(100)
        return now()

    assert run_virtual(main) == 2.5


def test_a_cancelled_timer_does_not_move_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(50, lambda: None).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtual(main) == 1.0


def test_a_deadlock_is_an_error_instead_of_a_hang():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="no timer will ever wake it"):
        run_virtual(main)


def test_a_livelock_is_an_error_instead_of_a_hang():
    async def main():
        def again():
            asyncio.get_running_loop().call_soon(again)

        await asyncio.sleep(2)
        again()
        await asyncio.sleep(1)

    with pytest.raises(LivelockError, match=r"stood still at 2\.0"):
        run_virtual(main)


def test_the_result_and_the_exception_of_main_come_through():
    async def fine():
        return 42

    async def bad():
        raise ValueError("of main")

    assert run_virtual(fine) == 42
    with pytest.raises(ValueError, match="of main"):
        run_virtual(bad)


def test_what_main_left_behind_is_cancelled_and_may_clean_up():
    cleaned = []

    async def background():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    async def main():
        task = asyncio.get_running_loop().create_task(background())
        await asyncio.sleep(5)
        return task.done()

    assert run_virtual(main) is False
    assert cleaned == [6.0]


def test_each_run_has_a_loop_of_its_own_and_none_is_left():
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())
        return now()

    assert [run_virtual(main), run_virtual(main)] == [0.0, 0.0]
    assert loops[0] is not loops[1]
    assert all(loop.is_closed() for loop in loops)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_it_opens_no_descriptors():

    before = len(os.listdir("/proc/self/fd"))
    loops = [VirtualTimeLoop() for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before
    for loop in loops:
        loop.close()


def test_a_loop_clock_shows_virtual_time():
    async def main():
        clock = LoopClock(asyncio.get_running_loop(), epoch=1000.0)
        await asyncio.sleep(7)
        return clock.monotonic(), clock.wall()

    assert run_virtual(main) == (7.0, 1007.0)


def test_many_tasks_interleave_alike_in_every_run():
    async def main():
        seen = []

        async def worker(name, pause):
            for _ in range(5):
                await asyncio.sleep(pause)
                seen.append((name, round(now(), 6)))

        await asyncio.gather(*(worker(name, 0.1 * (name % 3 + 1)) for name in range(9)))
        return seen

    assert run_virtual(main) == run_virtual(main)
