"""The program around the commands: its help, its errors, its speed, its shell completion."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import subprocess
import sys
from pathlib import Path

import click
import pytest

from h9s.cli.root import _SUMMARIES
from h9s.cli.root import howbectl as root
from h9s.cli.session import Session
from h9s.errors import UnavailableError
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster, FixedClock
from tests.unit.cli.objects import pod


def test_every_command_in_the_help_is_there_and_says_the_same() -> None:
    for name in _SUMMARIES:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name
        assert command.help
    commands = Path(importlib.import_module("h9s.cli.commands").__path__[0]).glob("*.py")
    modules = {path.stem.replace("_", "-") for path in commands if path.stem != "__init__"}
    assert modules == set(_SUMMARIES)


@pytest.mark.parametrize(
    "name", [*_SUMMARIES, "rollout status", "cluster status", "worker join", "config view"]
)
def test_every_command_explains_itself(howbectl: Howbectl, name: str) -> None:
    result = howbectl(f"{name} --help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: howbectl {name} ")


def test_help_lists_all_commands(howbectl: Howbectl) -> None:
    stdout = howbectl("--help").stdout
    for name, summary in _SUMMARIES.items():
        assert f"  {name} " in stdout
        assert summary.split(";")[0] in stdout
    assert howbectl("").exit_code == 0


def test_global_options_stand_anywhere(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", namespace="team"))
    for line in ("-n team get pods -o name", "get -n team pods -o name", "get pods -o=name -n=team"):
        assert howbectl(line).stdout == "pod/web\n"
    assert howbectl("-n nowhere get pods -n team -o name").stdout == "pod/web\n"


def _without_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("H9S_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_a_cluster_it_says_how_to_get_one(
    howbectl: Howbectl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _without_config(monkeypatch, tmp_path)
    result = howbectl("get pods")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: no cluster to talk to: there is no {tmp_path}/.h9s/howbectl.yaml. Start one with"
        " ./scripts/up, or name the configuration of one with --config or H9S_CONFIG\n"
    )


def test_the_configuration_is_looked_for_in_order(
    cluster: FakeCluster, howbectl: Howbectl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_variable = os.environ["H9S_CONFIG"]
    (tmp_path / ".h9s").mkdir()
    (tmp_path / ".h9s/howbectl.yaml").write_text(Path(by_variable).read_text())
    assert howbectl("config path").stdout == f"{by_variable}\n"
    assert howbectl(f"config path --config={tmp_path}/other.yaml").stdout == f"{tmp_path}/other.yaml\n"
    _without_config(monkeypatch, tmp_path)
    assert howbectl("config path").stdout == f"{tmp_path}/.h9s/howbectl.yaml\n"
    assert howbectl("get pods --config nope.yaml").exit_code == 2
    assert howbectl("get ns -o name").stdout == "namespace/default\n"


def test_dead_replicas_cost_nothing_visible(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    for dead in (["a:1"], ["b:1"], ["b:1", "c:1"]):
        for server in cluster.servers:
            cluster.restart(server)
        for server in dead:
            cluster.kill(server)
        cluster.leader = next(server for server in cluster.servers if server not in dead)
        result = howbectl("get pods -o name")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "pod/web\n", "")
        assert howbectl(f"label pod web dead={len(dead)}{dead[0][0]} --overwrite").stderr == ""


def test_no_answer_is_one_line_with_the_addresses(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for server in cluster.servers:
        cluster.kill(server)
    result = howbectl("get pods --request-timeout=30ms")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    for server in cluster.servers:
        assert server in result.stderr


def test_where_nobody_listens_it_does_not_go_on_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    from h9s.cli import session

    async def nobody(_servers: object, *, timeout: float) -> bool:
        return False

    monkeypatch.setattr(session, "_LISTENER_CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(session, "any_may_listen", nobody)
    asked = asyncio.Event()

    async def forever() -> None:
        asked.set()
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(UnavailableError, match="connection refused; is it running"):
            await session._unless_nobody_listens(forever(), ("127.0.0.1:1",))
        assert asked.is_set()

    asyncio.run(main())


def test_an_unknown_outcome_is_named_as_such(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.lost_answers = 10_000
    result = howbectl("run web --image=x --request-timeout=30ms")
    assert result.exit_code == 1
    assert "whether the change was made is open" in result.stderr


def test_a_retry_after_a_lost_answer_does_it_once(cluster: FakeCluster, howbectl: Howbectl) -> None:
    before = cluster.objects.revision
    cluster.lost_answers = 2
    assert howbectl("run web --image=x").stdout == "pod/web created\n"
    assert cluster.objects.revision == before + 1


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    script = f"{sys.executable} -m h9s.cli get --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (0, 141)
    closed = f"{sys.executable} -m h9s.cli api-resources >&-"
    assert (
        "Traceback"
        not in subprocess.run(["bash", "-c", closed], capture_output=True, text=True, check=False).stderr
    )


@pytest.mark.parametrize("line", ["--help", "get --help", "completion bash", "api-resources", "frobnicate"])
def test_what_needs_no_cluster_does_not_load_grpc(line: str) -> None:
    program = (
        "import sys\n"
        "from h9s.cli.root import howbectl\n"
        "try:\n"
        f"    howbectl({line.split()!r})\n"
        "finally:\n"
        "    heavy = {'grpc', 'cryptography', 'prometheus_client'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "AssertionError" not in done.stderr
    assert done.stdout or done.returncode == 2


def test_loading_any_command_does_not_load_grpc() -> None:
    names = [name.replace("-", "_") for name in _SUMMARIES]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module('h9s.cli.commands.' + name)\n"
        "sys.exit('grpc' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_for_this_program(howbectl: Howbectl, shell: str) -> None:
    assert "_HOWBECTL_COMPLETE" in howbectl(f"completion {shell}").stdout


@pytest.mark.usefixtures("howbectl")
@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "sc", ["scale"]),
        (["rollout"], "re", ["restart", "resume"]),
        (["get"], "de", ["deployments"]),
        (["get"], "pods,de", ["pods,deployments"]),
        (["get"], "j", []),
        (["get", "pods"], "we", ["web-1", "web-2"]),
        (["get", "pods", "web-1"], "web-2", ["web-2"]),
        (["describe"], "pod/web-1", ["pod/web-1"]),
        (["logs"], "web", ["web-1", "web-2"]),
        (["get", "-n", "team", "pods"], "", ["other"]),
        (["get", "frobs"], "", []),
        (["completion"], "z", ["zsh"]),
        (["get", "pods", "-o"], "y", ["yaml"]),
    ],
)
def test_tab_offers_what_could_come(
    cluster: FakeCluster, words: list[str], incomplete: str, expected: list[str]
) -> None:
    from click.shell_completion import ShellComplete

    cluster.put(pod("web-1"))
    cluster.put(pod("web-2"))
    cluster.put(pod("other", namespace="team"))
    session = Session(clock=FixedClock(), rng=random.Random(1), open_client=cluster.open)
    completion = ShellComplete(root, {"obj": session}, "howbectl", "_HOWBECTL_COMPLETE")
    assert [item.value for item in completion.get_completions(words, incomplete)] == expected


def test_tab_without_a_cluster_offers_nothing_and_says_nothing(
    howbectl: Howbectl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from click.shell_completion import ShellComplete

    _without_config(monkeypatch, tmp_path)
    completion = ShellComplete(root, {"obj": Session()}, "howbectl", "_HOWBECTL_COMPLETE")
    assert completion.get_completions(["get", "pods"], "") == []
