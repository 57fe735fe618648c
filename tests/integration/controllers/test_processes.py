"""The two commands as operators run them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from h9s import pki
from h9s._pb import coordination_pb2, core_pb2
from h9s.client.cache import Cache
from tests.integration.apiserver.serving import Serving, serving
from tests.integration.controllers.control_plane import DEPLOYMENT, ControlPlane, Howbelet


@contextlib.asynccontextmanager
async def process(
    server: Serving, tmp_path: Path, module: str, identity: str, *flags: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    config = tmp_path / f"{identity}.yaml"
    server.config(identity, pki.ROLE_COMPONENT).save(config)
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--client-config", str(config), "--identity", identity, *flags
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def holder(plane: ControlPlane, lease: str) -> str:
    leases = (await plane.client.list(coordination_pb2.Lease, "h9s-system")).items
    return next((found.spec.holder_identity for found in leases if found.metadata.name == lease), "")


@contextlib.asynccontextmanager
async def user(server: Serving) -> AsyncIterator[ControlPlane]:
    async with server.client() as client:
        plane = ControlPlane(server, client, Cache(client, (core_pb2.Pod,)))
        plane.start("cache", plane.cache.run())
        howbelet = Howbelet(client, "n1")
        await howbelet.register()
        plane.start("n1-beat", howbelet.beat())
        plane.start("n1", howbelet.run())
        try:
            yield plane
        finally:
            for name in list(plane.tasks):
                await plane.stop(name)


async def test_they_bring_a_deployment_to_life_and_end_on_sigterm(tmp_path, unused_tcp_port):
    metrics = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serving() as server,
        user(server) as plane,
        process(server, tmp_path, "h9s.scheduler", "s1") as scheduler,
        process(server, tmp_path, "h9s.controllers", "c1", "--metrics-address", metrics) as manager,
    ):
        await plane.apply(DEPLOYMENT % 3)
        await plane.until(lambda: len(plane.running()) == 3, seconds=30)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{metrics}/metrics").read())
        assert b'h9s_controller_commits_total{controller="replicaset",outcome="OK"}' in page
        for running in (scheduler, manager):
            running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.wait(), 10) == 0
        assert await holder(plane, "howbe-controller-manager") == ""


async def test_a_standby_takes_over_when_the_active_one_is_killed(tmp_path):
    async with (
        serving() as server,
        user(server) as plane,
        process(server, tmp_path, "h9s.scheduler", "s1") as first,
        process(server, tmp_path, "h9s.controllers", "c1"),
    ):
        await plane.apply(DEPLOYMENT % 2)
        await plane.until(lambda: len(plane.running()) == 2, seconds=30)
        async with process(server, tmp_path, "h9s.scheduler", "s2"):
            first.kill()
            gone = plane.running()[0].metadata
            await plane.client.delete(core_pb2.Pod, gone.name, gone.namespace)
            await plane.until(
                lambda: (
                    len(plane.running()) == 2 and all(p.metadata.uid != gone.uid for p in plane.running())
                ),
                seconds=30,
            )
            assert await holder(plane, "howbe-scheduler") == "s2"


@pytest.mark.parametrize("module", ["h9s.scheduler", "h9s.controllers"])
async def test_a_missing_configuration_is_one_clear_message(module, tmp_path):
    missing = tmp_path / "missing.yaml"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--client-config", str(missing), "--identity", "x"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode
    assert stderr.decode().strip().count("\n") == 0
    assert str(missing) in stderr.decode()
