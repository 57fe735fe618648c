from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local.layout import HOST, Layout
from cluster.local.manager import LocalCluster
from cluster.local.settings import load_settings
from cluster.local.take_down import take_down
from cluster.local.temporary import find_base_port
from h9s.clock import system_random
from tests.conftest import ROOT
from tests.e2e.support import Done, Howbectl


async def script(name: str, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / name),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # The scripts have to find their way from anywhere.
        cwd="/",
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    if Layout(folder).settings_file.exists():
        take_down(Layout(folder))


def cluster_in(state_dir: Path) -> LocalCluster:
    settings = load_settings(state_dir)
    assert settings is not None
    return LocalCluster(Layout(state_dir, settings.base_port), settings)


async def test_up_resumes_and_down_stops(state_dir: Path):
    """The life of a cluster: up, up again, a process lost, down, up again, wiped."""
    base_port = str(find_base_port(workers=2, rng=system_random()))
    options = ["--runtime", "process", "--base-port", base_port, "--state-dir", str(state_dir)]
    first = await script("up", *options)
    assert first.code == 0, first.out + first.err
    assert first.out.count("Hello from hello-") == 3
    assert "running on process (as asked for)" in first.out
    assert f"H9S_CONFIG={state_dir}/howbectl.yaml" in first.out
    cluster = cluster_in(state_dir)
    howbectl = Howbectl(cluster)
    await howbectl.ok("scale", "deployment", "hello", "--replicas=2")
    uid = (await howbectl.json("get", "deployment", "hello"))["metadata"]["uid"]

    cluster.kill("scheduler")
    survivors = {name: cluster.record(name) for name in cluster.components if name != "scheduler"}
    second = await script("up", "--state-dir", str(state_dir))
    assert second.code == 0, second.out + second.err
    assert "started scheduler; already running r1 r2 r3" in second.out
    assert {name: cluster.record(name) for name in survivors} == survivors

    down = await script("down", "--state-dir", str(state_dir))
    assert down.code == 0, down.out + down.err
    assert cluster.running() == []

    third = await script("up", "--state-dir", str(state_dir))
    assert third.code == 0, third.out + third.err
    again = await howbectl.json("get", "deployment", "hello")
    assert (again["metadata"]["uid"], again["spec"]["replicas"]) == (uid, 2)
    assert third.out.count("Hello from hello-") == 2

    wiped = await script("down", "--wipe", "--state-dir", str(state_dir))
    assert wiped.code == 0, wiped.out + wiped.err
    assert not state_dir.exists()


async def test_a_taken_port_is_reported_before_anything_is_started(state_dir: Path):
    base_port = find_base_port(workers=2, rng=system_random())
    with socket.socket() as listener:
        listener.bind((HOST, base_port + 50))
        listener.listen()
        done = await script("up", "--runtime=process", f"--base-port={base_port}", f"--state-dir={state_dir}")
    assert done.code == 2
    assert f"port {base_port + 50} on {HOST} (controller-manager: metrics) cannot be used" in done.err
    assert cluster_in(state_dir).running() == []


async def test_a_process_that_dies_is_reported_with_the_end_of_its_log(state_dir: Path):
    base_port = find_base_port(workers=1, rng=system_random())
    options = [f"--base-port={base_port}", "--runtime=process", "--workers=1", f"--state-dir={state_dir}"]
    done = await script("up", "--no-example", *options)
    assert done.code == 0, done.out + done.err
    cluster = cluster_in(state_dir)
    cluster.stop("r1")
    identity = next(path for path in cluster.layout.data_dir("r1").iterdir() if path.is_file())
    identity.write_text("not what it was")
    done = await script("up", f"--state-dir={state_dir}")
    assert done.code != 0
    assert "r1 has died" in done.err
    assert str(cluster.layout.log_file("r1")) in done.err


async def test_a_directory_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    for name in ("up", "down"):
        done = await script(name, "--state-dir", str(tmp_path))
        assert done.code == 2
        assert "holds no cluster" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


async def test_a_stale_record_of_a_process_never_gets_a_stranger_killed(state_dir: Path):
    base_port = find_base_port(workers=1, rng=system_random())
    options = [f"--base-port={base_port}", "--runtime=process", "--workers=1", f"--state-dir={state_dir}"]
    done = await script("up", "--no-example", *options)
    assert done.code == 0, done.out + done.err
    cluster = cluster_in(state_dir)
    record = cluster.record("scheduler")
    assert record is not None
    cluster.kill("scheduler")
    stranger = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        path = cluster.layout.record_file("scheduler")
        path.write_text(path.read_text().replace(str(record.pid), str(stranger.pid)))
        assert (await script("down", f"--state-dir={state_dir}")).code == 0
        os.kill(stranger.pid, 0)
        assert stranger.returncode is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        await stranger.wait()
