"""howbectl as the shell runs it: many at once, interrupted, cut off, with servers that are gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from h9s import pki
from h9s.config import ClientConfig
from tests.integration.cli.conftest import Howbectl

Start = Callable[..., "subprocess.Popen[str]"]


def test_many_at_once_lose_nothing(howbectl: Howbectl, start: Start, tmp_path: Path) -> None:
    howbectl("create deployment web --image=x")
    howbectl("create deployment other --image=x")
    manifest = "kind: Pod\nmetadata: {name: pod-N}\nspec: {containers: [{name: c, image: x}]}\n"
    lines = []
    for number in range(4):
        (tmp_path / f"{number}.yaml").write_text(
            manifest.replace("N", str(number)) + "---\n" + manifest.replace("N", "all")
        )
        lines += [f"apply -f {tmp_path}/{number}.yaml", f"label deploy web n{number}=x"]
    lines += [f"scale deploy web --replicas={number}" for number in (3, 5)]
    processes = [start(line) for line in lines]
    outcomes = [(process.communicate(timeout=60), process.returncode) for process in processes]
    for line, ((_, stderr), code) in zip(lines, outcomes, strict=True):
        assert (code, stderr) == (0, ""), line
    web = json.loads(howbectl("get deploy web -o json").stdout)
    assert web["metadata"]["labels"] == {"app": "web", "n0": "x", "n1": "x", "n2": "x", "n3": "x"}
    assert web["spec"]["replicas"] in (3, 5)
    assert howbectl("get pods -o name").lines == [
        "pod/pod-0",
        "pod/pod-1",
        "pod/pod-2",
        "pod/pod-3",
        "pod/pod-all",
    ]
    created = [stdout for (stdout, _), _ in outcomes if "pod/pod-all created" in stdout]
    assert len(created) == 1


def test_a_watch_prints_at_once_and_ends_quietly_at_ctrl_c(howbectl: Howbectl, start: Start) -> None:
    howbectl("create ns watched")
    howbectl("run first --image=x -n watched")
    with start("get pods -n watched -w") as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert watch.stdout.readline().startswith("NAME ")
        assert watch.stdout.readline().startswith("first ")
        howbectl("run second --image=x -n watched")
        assert watch.stdout.readline().startswith("second ")
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=20) == 130
        assert watch.stderr.read() == ""


def test_a_reader_that_goes_away_ends_a_watch_quietly(howbectl: Howbectl, config: Path) -> None:
    howbectl("create ns piped")
    howbectl("run first --image=x -n piped")
    script = f"{sys.executable} -m h9s.cli get pods -n piped -w | head -n 1; exit ${{PIPESTATUS[0]}}"
    with subprocess.Popen(
        ["bash", "-c", script],
        env={**os.environ, "H9S_CONFIG": str(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as piped:
        assert piped.stdout is not None
        assert piped.stderr is not None
        assert piped.stdout.readline().startswith("NAME ")
        howbectl("run second --image=x -n piped")
        assert piped.wait(timeout=20) == 141
        assert piped.stderr.read() == ""


def _closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _with_servers(config: Path, path: Path, servers: tuple[str, ...]) -> Path:
    replace(ClientConfig.load(config), servers=servers).save(path)
    return path


def test_dead_addresses_are_not_noticed(howbectl: Howbectl, config: Path, tmp_path: Path) -> None:
    (alive,) = ClientConfig.load(config).servers
    for position in range(3):
        servers = [_closed_port(), _closed_port()]
        servers.insert(position, alive)
        path = _with_servers(config, tmp_path / "three.yaml", tuple(servers))
        for line in (f"create ns dead-{position}", "get ns default"):
            result = howbectl(f"--config {path} {line}")
            assert (result.exit_code, result.stderr) == (0, "")


def test_a_server_that_takes_connections_and_says_nothing_costs_little(
    howbectl: Howbectl, config: Path, tmp_path: Path
) -> None:
    (alive,) = ClientConfig.load(config).servers
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        silent = f"127.0.0.1:{mute.getsockname()[1]}"
        path = _with_servers(config, tmp_path / "mute.yaml", (silent, alive))
        result = howbectl(f"--config {path} get ns default -o name")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "namespace/default\n", "")
        status = howbectl(f"--config {path} cluster status")
        assert ["?", "unreachable", silent] in [line.split()[:3] for line in status.lines]


def test_nobody_there_is_one_line_with_all_addresses(
    howbectl: Howbectl, config: Path, tmp_path: Path
) -> None:
    servers = (_closed_port(), _closed_port())
    path = _with_servers(config, tmp_path / "none.yaml", servers)
    result = howbectl(f"--config {path} get pods")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    for server in servers:
        assert server in result.stderr


def _run_with(config: Path, line: str) -> subprocess.CompletedProcess[str]:
    """As a process of its own: gRPC writes to stderr past Python."""
    return subprocess.run(
        [sys.executable, "-m", "h9s.cli", "--config", str(config), *line.split()],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_configuration_of_another_cluster_is_told_apart(config: Path, tmp_path: Path) -> None:
    other = pki.create_ca("other")
    path = tmp_path / "other.yaml"
    replace(ClientConfig.load(config), ca=other.certificate).save(path)
    done = _run_with(path, "get pods --request-timeout=1s")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not the cluster of this configuration" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_stranger_is_refused_in_one_line(config: Path, tmp_path: Path) -> None:
    stranger = pki.issue(pki.create_ca("other"), common_name="x", organization="h9s:admin")
    path = tmp_path / "stranger.yaml"
    replace(ClientConfig.load(config), certificate=stranger.certificate, key=stranger.key).save(path)
    done = _run_with(path, "get pods --request-timeout=1s")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_pod_that_a_howbelet_has_to_stop_is_shown_terminating(howbectl: Howbectl) -> None:
    bound = "kind: Pod\nmetadata: {name: bound}\nspec: {nodeName: n1, containers: [{name: c, image: x}]}"
    howbectl("create -f -", stdin=bound)
    assert howbectl("delete pod bound --wait=false").stdout == 'pod "bound" deleted\n'
    assert "Terminating" in howbectl("get pod bound").stdout
    late = howbectl("delete pod bound --timeout=200ms")
    assert (late.exit_code, late.stderr) == (1, "error: timed out waiting for the deletion of pod/bound\n")
    assert howbectl("delete pod bound --force").stdout == 'pod "bound" force deleted\n'
    assert howbectl("get pod bound").exit_code == 1


def test_the_shell_completes_names_from_the_cluster(howbectl: Howbectl, config: Path) -> None:
    howbectl("run tab-me --image=x")
    done = subprocess.run(
        [sys.executable, "-m", "h9s.cli"],
        env={
            **os.environ,
            "H9S_CONFIG": str(config),
            "_HOWBECTL_COMPLETE": "bash_complete",
            "COMP_WORDS": "howbectl get pods tab-",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "plain,tab-me\n"
    assert done.stderr == ""


def test_a_join_command_carries_a_token_of_this_cluster(howbectl: Howbectl, config: Path) -> None:
    words = howbectl("worker join --ttl=5m").stdout.split()
    assert words[:2] == ["howbelet", "--join"]
    assert pki.JoinToken.parse(words[-1]).ca.strip() == ClientConfig.load(config).ca.strip()


@pytest.mark.parametrize(
    "line", ["cluster status", "worker", "get all", "events -A", "version", "api-resources"]
)
def test_the_rest_works_on_an_empty_cluster(howbectl: Howbectl, line: str) -> None:
    assert howbectl(line).exit_code == 0
