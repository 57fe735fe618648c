"""A daemon's ends, each in a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, logging, os, signal
from h9s.daemon import run_daemon
from h9s.errors import UsageError, UnavailableError
def ready():
    os.write(1, b"ready")
async def for_ever():
    ready()
    await asyncio.Event().wait()
"""


def start(body, **env):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def end(process, *signals):
    if signals:
        assert process.stdout.read(5) == "ready"
    for number in signals:
        process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_main_clean_up_and_is_a_clean_exit(number):
    code, log = end(
        start("""
        async def main():
            try:
                await for_ever()
            finally:
                await asyncio.sleep(0)
                logging.getLogger("mine").info("cleaned up")
        run_daemon(main, name="test")
        """),
        number,
    )
    assert code == 0
    lines = [line.split(" test ", 1)[1] for line in log.splitlines()]
    assert lines == [
        f"h9s.daemon: {number.name}: stopping",
        "mine: cleaned up",
        "h9s.daemon: stopped",
    ]


def test_a_second_signal_does_not_wait_for_main():
    process = start("""
        async def main():
            while True:
                try:
                    await for_ever()
                except asyncio.CancelledError:
                    pass
        run_daemon(main, name="test")
        """)
    assert process.stdout is not None
    assert process.stdout.read(5) == "ready"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read(5) == "ready"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_main_that_returns_is_a_clean_exit():
    code, _ = end(start("async def main(): pass\nrun_daemon(main, name='test')"))
    assert code == 0


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("UsageError('bad flag')", 2, "CRITICAL test h9s.daemon: bad flag\n"),
        ("ExceptionGroup('x', [UnavailableError('gone')])", 1, "CRITICAL test h9s.daemon: gone\n"),
        ("ZeroDivisionError('boom')", 1, "ZeroDivisionError: boom\\nTraceback"),
        ("SystemExit(7)", 7, ""),
    ],
)
def test_an_error_is_the_exit_code_and_one_line_of_the_log(raised, code, said):
    got, log = end(start(f"async def main(): raise {raised}\nrun_daemon(main, name='test')"))
    assert got == code
    assert said in log
    assert len(log.splitlines()) <= 1


def test_an_error_of_ours_that_nothing_awaits_ends_the_process():
    code, log = end(
        start("""
        import sys, types
        ours = types.ModuleType("h9s.ours")
        exec("async def broken(): raise KeyError('lost')", ours.__dict__)
        async def main():
            asyncio.get_running_loop().create_task(ours.broken())
            await asyncio.sleep(0.01)
            import gc; gc.collect()
            await for_ever()
        run_daemon(main, name="test")
        """)
    )
    assert code == 1
    assert "nothing awaited this error" in log
    assert "KeyError: 'lost'" in log


def test_a_librarys_loose_end_is_logged_and_survived():
    code, log = end(
        start("""
        class Careless:
            def __del__(self): raise KeyError("in a destructor")
        async def main():
            Careless()
            await asyncio.sleep(0)
            await for_ever()
        run_daemon(main, name="test")
        """),
        signal.SIGTERM,
    )
    assert code == 0
    assert "KeyError: 'in a destructor'" in log


def test_the_level_comes_from_the_environment():
    body = """
        async def main():
            logging.getLogger("x").debug("details")
        run_daemon(main, name="test")
        """
    assert "details" not in end(start(body))[1]
    assert "DEBUG test x: details" in end(start(body, H9S_LOG_LEVEL="debug"))[1]
