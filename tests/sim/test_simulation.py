"""The simulation itself: it repeats exactly, it does something, and it sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from h9s.sim import __main__ as command
from h9s.sim.replicas import SimReplicas
from h9s.sim.schedule import run_seed


def test_a_seed_gives_the_same_life_in_every_process() -> None:
    script = "from h9s.sim.schedule import run_seed; print([run_seed(seed) for seed in (3, 4)])"
    lives = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(lives) == 1
    assert "acknowledged=" in lives.pop()


def test_seeds_differ() -> None:
    assert run_seed(3) != run_seed(4)


def test_lives_are_eventful() -> None:
    results = [run_seed(seed) for seed in range(20)]
    assert sum(result.faults for result in results) > 300
    assert sum(result.acknowledged for result in results) > 1000
    assert sum(result.reads for result in results) > 200
    trace = "\n".join(line for result in results for line in result.trace)
    for event in (
        "crashes",
        "cut r",
        "mute r",
        "isolate r",
        "the power fails",
        "gets no time",
        "torn tail",
        "disk fails",
    ):
        assert event in trace, event


def test_whatever_ends_a_life_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(self, **kwargs):
        self.trace("about to explode")
        raise OSError("the simulation itself")

    monkeypatch.setattr(SimReplicas, "heal", explode)
    result = run_seed(5)
    assert result.failures == ("the life ended with OSError('the simulation itself')",)
    assert result.trace[-1].endswith("about to explode")


# --- the command -----------------------------------------------------------------------------


def test_the_command_runs_a_range_and_sums_it_up() -> None:
    result = CliRunner().invoke(command.main, ["--seeds", "2..4", "--processes", "1"])
    assert result.exit_code == 0
    assert result.output.startswith("3 seeds, 0 failed; ")


def test_the_command_prints_the_trace_of_a_failing_seed_and_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SimReplicas, "disagreement", lambda self: "they quarrel")
    result = CliRunner().invoke(command.main, ["--seeds", "2", "--processes", "1"])
    assert result.exit_code == 1
    assert "everything is healed" in result.output
    assert "seed 2 FAILED: not level 5 s after healing: they quarrel" in result.output
    assert "./scripts/sim --seeds 2..2" in result.output


@pytest.mark.parametrize("text", ["", "a..b", "1-3"])
def test_the_command_explains_a_range(text: str) -> None:
    result = CliRunner().invoke(command.main, ["--seeds", text])
    assert result.exit_code == 2
    assert "expected a range such as 0..299" in result.output


def test_seeds_run_in_processes_of_their_own():
    command_line = [sys.executable, "-m", "h9s.sim", "--seeds", "2..5", "--processes", "2"]
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 seeds, 0 failed")
