from __future__ import annotations

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest

from h9s._pb import api_pb2
from h9s.cli.terminal import raw_mode, terminal_size
from h9s.errors import UnavailableError
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster, FakeExec
from tests.unit.cli.objects import deployment, pod

Response = api_pb2.ExecResponse


def test_output_and_exit_code_are_passed_on(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.exec_call = FakeExec(Response(stdout=b"out\n"), Response(stderr=b"err\n"), Response(exit_code=3))
    result = howbectl("exec web -- sh -c 'exit 3'")
    assert result.exit_code == 3
    assert result.stdout == "out\n"
    assert result.stderr == "err\ncommand terminated with exit code 3\n"
    start = cluster.exec_call.start
    assert start is not None
    assert (start.pod, start.container, list(start.command)) == ("web", "app", ["sh", "-c", "exit 3"])
    assert not start.stdin
    assert not start.tty
    assert cluster.exec_call.cancelled


def test_success_is_quiet(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web"))
    cluster.put(pod("web-1", labels={"app": "web"}, containers=("app", "side")))
    cluster.exec_call = FakeExec(Response(exit_code=0))
    result = howbectl("exec deploy/web -c side -- true")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_call_that_breaks_off_is_an_error(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.exec_call = FakeExec(Response(stdout=b"out\n"))
    result = howbectl("exec web -- ls")
    assert result.exit_code == 1
    assert "the connection to the command ended before the command did" in result.stderr


def test_an_unreachable_howbelet_is_one_clear_message(
    cluster: FakeCluster, howbectl: Howbectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(pod("web"))
    cluster.exec_call = FakeExec()

    async def unreachable() -> None:
        raise UnavailableError("the howbelet of node 'n1' does not answer")

    monkeypatch.setattr(cluster.exec_call, "read", unreachable)
    assert howbectl("exec web -- ls").stderr == (
        "error: the connection to the command broke off: the howbelet of node 'n1' does not answer\n"
    )


@pytest.fixture
def piped_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input as a pipe; gives the end to write to."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as stdin:
        monkeypatch.setattr("h9s.cli.commands.exec.sys", _System(stdin))
        yield writer


class _System:
    """`sys` with another standard input."""

    def __init__(self, stdin: io.FileIO | io.RawIOBase) -> None:
        self.stdin = stdin

    def __getattr__(self, name: str) -> object:
        return getattr(sys, name)


def test_input_is_passed_on_until_its_end(cluster: FakeCluster, howbectl: Howbectl, piped_input: int) -> None:
    cluster.put(pod("web"))
    cluster.exec_call = FakeExec(Response(exit_code=0), after_eof=True)
    os.write(piped_input, b"one\ntwo\n")
    os.close(piped_input)
    assert howbectl("exec -i web -- cat").exit_code == 0
    assert cluster.exec_call.stdin == b"one\ntwo\n"
    assert cluster.exec_call.start is not None
    assert cluster.exec_call.start.stdin


def test_a_terminal_that_is_none_is_done_without(
    cluster: FakeCluster, howbectl: Howbectl, piped_input: int
) -> None:
    cluster.put(pod("web"))
    cluster.exec_call = FakeExec(Response(exit_code=0), after_eof=True)
    os.close(piped_input)
    result = howbectl("exec -it web -- sh")
    assert result.exit_code == 0
    assert result.stderr == "Unable to use a TTY: standard input is not a terminal\n"
    assert cluster.exec_call.start is not None
    assert not cluster.exec_call.start.tty


def test_a_terminal_is_raw_for_the_command_and_as_before_afterwards(
    cluster: FakeCluster, howbectl: Howbectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(pod("web"))
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    during: list[list[object]] = []

    class Call(FakeExec):
        async def read(self) -> Response | None:
            during.append(termios.tcgetattr(slave))
            return await super().read()

    cluster.exec_call = Call(Response(stdout=b"$ "), Response(exit_code=0))
    with os.fdopen(slave, "rb", buffering=0) as stdin, os.fdopen(master, "rb", buffering=0):
        termios.tcsetwinsize(slave, (24, 80))
        monkeypatch.setattr("h9s.cli.commands.exec.sys", _System(stdin))
        assert howbectl("exec -it web -- sh").exit_code == 0
        assert termios.tcgetattr(slave) == before
    assert during[0] != before
    start = cluster.exec_call.start
    assert start is not None
    assert (start.tty, start.size.columns, start.size.rows) == (True, 80, 24)


def test_the_terminal_is_given_back_on_errors_too() -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 132))
    assert terminal_size(slave) == (132, 40)
    before = termios.tcgetattr(slave)
    with pytest.raises(ValueError, match="x"), raw_mode(slave):
        raise ValueError("x")
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
