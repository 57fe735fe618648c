"""What a person reads while a cluster starts and stops."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cluster.local.bring_up import Running
from cluster.local.layout import Layout
from cluster.local.manager import LocalCluster
from cluster.local.probes import PodAnswer
from cluster.local.progress import Progress
from cluster.local.runtime_choice import RuntimeChoice
from cluster.local.settings import Settings
from cluster.local.summary import after_down, after_up
from cluster.local.take_down import Stopped
from cluster.local.waiting import wait_until
from h9s.errors import TimeoutExpiredError


class Steps:
    """A clock that moves by one second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def wall(self) -> float:
        return self.now


def running(answers: tuple[PodAnswer, ...] = ()) -> Running:
    cluster = LocalCluster(
        Layout(Path("/state"), 7400), Settings("c", 7400, 2, "docker"), programs=Path("/programs")
    )
    return Running(cluster, RuntimeChoice("docker", "Docker Engine 27 answers"), "r2", answers)


def test_up_says_what_runs_where_and_what_to_try():
    text = after_up(running((PodAnswer("hello-1", "n1", "172.17.0.2:8080", "Hello", ""),)), is_default=False)
    assert "running on docker (Docker Engine 27 answers)" in text
    assert "r2 127.0.0.1:7410 (leader)" in text
    assert "hello-1  http://172.17.0.2:8080 on n1: Hello" in text
    assert "export H9S_CONFIG=/state/howbectl.yaml" in text
    assert "scripts/down --state-dir /state" in text


def test_up_suggests_only_what_works():
    text = after_up(running(), is_default=True)
    assert "scale deployment hello" not in text
    assert "H9S_CONFIG" not in text
    assert "--state-dir" not in text


def test_down_says_what_it_did():
    layout = Layout(Path("/state"))
    assert after_down(Stopped((), ()), layout, wiped=False) == "nothing ran"
    assert after_down(Stopped(("r1",), ("n1",)), layout, wiped=True) == (
        "stopped r1; the pods of n1 are gone; the state in /state is removed"
    )


def test_a_log_gets_one_line_per_change_of_a_step():
    out = io.StringIO()
    with Progress(out, clock=Steps()).step("workers") as step:
        step.waiting_for("n1")
        step.result = "ready"
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [["workers", "waiting:", "n1"], ["workers", "ready", "(1.0", "s)"]]


def test_a_failed_step_is_not_reported_as_done():
    out = io.StringIO()
    with pytest.raises(RuntimeError), Progress(out, clock=Steps()).step("workers"):
        raise RuntimeError
    assert out.getvalue() == ""


async def test_waiting_tells_what_is_missing_once_per_change():
    answers = iter(["a", "a", "b", ""])
    told: list[str] = []

    async def check() -> str:
        return next(answers)

    await wait_until(check, what="it", timeout=100.0, interval=0, tell=told.append, clock=Steps())
    assert told == ["a", "b"]


async def test_waiting_ends_with_what_was_missing_last():
    async def check() -> str:
        return "the rest"

    with pytest.raises(TimeoutExpiredError, match="it: still not so after 5 s: the rest"):
        await wait_until(check, what="it", timeout=5.0, interval=0, clock=Steps())


async def test_waiting_stops_when_it_is_pointless():
    async def check() -> str:
        return "something"

    def watch() -> None:
        raise RuntimeError("dead")

    with pytest.raises(RuntimeError, match="dead"):
        await wait_until(check, what="it", timeout=5.0, interval=0, watch=watch, clock=Steps())
