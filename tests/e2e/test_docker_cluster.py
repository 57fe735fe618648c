"""A whole cluster on a real Docker Engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from cluster.failover.demonstration import Plan, demonstrate
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster
from cluster.local.probes import fetch
from cluster.local.temporary import await_control_plane
from h9s._pb import core_pb2
from h9s.clock import SystemClock
from tests.e2e.support import (
    Howbectl,
    await_ready_pods,
    client_of,
    container_ids,
    describe,
    restarts,
    until,
)

pytestmark = pytest.mark.docker

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: steady}
spec:
  replicas: 4
  selector: {matchLabels: {app: steady}}
  template:
    metadata: {labels: {app: steady}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: "nginx:1.15", ports: [{containerPort: 80}]}
"""


@pytest.fixture
def cluster(docker_cluster: LocalCluster) -> LocalCluster:
    return docker_cluster


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
async def steady(cluster: LocalCluster, howbectl: Howbectl) -> list[core_pb2.Pod]:
    """Four running pods, kept from test to test."""
    await howbectl.ok("apply", "-f", "-", stdin=MANIFEST)
    await howbectl.ok("scale", "deployment", "steady", "--replicas=4")
    async with client_of(cluster) as client:
        return await await_ready_pods(client, "app=steady", 4)


def container_of(engine: docker.DockerClient, pod: core_pb2.Pod) -> Container:
    """The pod's only container, as the engine has it."""
    scheme, _, container_id = pod.status.container_statuses[0].container_id.partition("://")
    assert scheme == "docker"
    return engine.containers.get(container_id)


async def apply_and_check(
    howbectl: Howbectl, cluster: LocalCluster, manifest: Path, engine: docker.DockerClient
):
    await howbectl.ok("apply", "-f", str(manifest))
    try:
        await howbectl.ok("rollout", "status", "deployment/nginx-deployment", "--timeout=60s")
        async with client_of(cluster) as client:
            pods = await await_ready_pods(client, "app=nginx", 2)
        assert {pod.spec.node_name for pod in pods} == {"n1", "n2"}
        for pod in pods:
            assert container_of(engine, pod).status == "running"
            assert "nginx" in await fetch(pod.status.pod_ip, 80)
    finally:
        await howbectl.ok("delete", "-f", str(manifest))


async def test_a_kubernetes_manifest_runs_unchanged_on_two_workers(
    cluster: LocalCluster, howbectl: Howbectl, engine: docker.DockerClient, shared_manifests: Path
):
    await apply_and_check(howbectl, cluster, shared_manifests / "application" / "deployment.yaml", engine)


async def test_a_deployment_runs_on_two_workers(
    cluster: LocalCluster, howbectl: Howbectl, engine: docker.DockerClient, examples: Path, tmp_path: Path
):
    text = (examples / "deployment.yaml").read_text()
    text = text.replace("name: web", "name: nginx-deployment").replace("app: web", "app: nginx")
    (tmp_path / "nginx.yaml").write_text(text.replace("replicas: 4", "replicas: 2"))
    await apply_and_check(howbectl, cluster, tmp_path / "nginx.yaml", engine)


@pytest.mark.parametrize("how", ["killed", "removed"])
async def test_a_container_lost_behind_h9s_back_is_restored_within_two_seconds(
    cluster: LocalCluster, engine: docker.DockerClient, steady: list[core_pb2.Pod], how: str
):
    clock = SystemClock()
    # Whatever was restarted just before would wait: that looks like a crash loop.
    pod = next(pod for pod in steady if restarts([pod]) == 0)
    lost = container_of(engine, pod)
    async with client_of(cluster) as client:

        async def missing() -> str:
            now = await client.get(core_pb2.Pod, pod.metadata.name, "default")
            status = now.status.container_statuses[0]
            is_new = not status.container_id.endswith(str(lost.id))
            return "" if is_new and status.state.HasField("running") and status.ready else describe([now])

        begin = clock.monotonic()
        await asyncio.to_thread(lost.kill if how == "killed" else lambda: lost.remove(force=True))
        await until(missing, f"a new container for the one that was {how}", interval=0.02, timeout=10.0)
        took = clock.monotonic() - begin
        now = await client.get(core_pb2.Pod, pod.metadata.name, "default")
        assert container_of(engine, now).status == "running"
        assert now.metadata.uid == pod.metadata.uid
        assert now.status.container_statuses[0].restart_count > pod.status.container_statuses[0].restart_count
        assert took < 2.0


async def test_a_restarted_howbelet_adopts_its_containers(
    cluster: LocalCluster, howbectl: Howbectl, engine: docker.DockerClient, steady: list[core_pb2.Pod]
):
    async with client_of(cluster) as client:
        for name in cluster.node_names:
            cluster.kill(name)
            cluster.start(name)
        # Two more pods on each worker: the restarted howbelets are at work.
        await howbectl.ok("scale", "deployment", "steady", "--replicas=8")
        after = await await_ready_pods(client, "app=steady", 8)
        assert container_ids(steady).items() <= container_ids(after).items()
        assert restarts(after) == restarts(steady)
        for pod in steady:
            assert container_of(engine, pod).status == "running"


async def test_containers_run_and_are_restored_while_the_control_plane_is_away(
    cluster: LocalCluster, engine: docker.DockerClient, steady: list[core_pb2.Pod]
):
    async with client_of(cluster) as client:
        victim = next(pod for pod in steady if restarts([pod]) == 0)
        others = [pod for pod in steady if pod is not victim]
        cluster.kill(*REPLICA_IDS)
        try:
            await asyncio.to_thread(container_of(engine, victim).kill)

            async def missing() -> str:
                try:
                    await fetch(victim.status.pod_ip, 80)
                except (OSError, TimeoutError, ValueError) as error:
                    return f"an answer: {error}"
                return ""

            await until(missing, "the restored container", timeout=10.0)
            for pod in others:
                assert container_of(engine, pod).status == "running"
        finally:
            for replica_id in REPLICA_IDS:
                cluster.start(replica_id)
        await await_control_plane(cluster)

        async def untold() -> str:
            pod = await client.get(core_pb2.Pod, victim.metadata.name, "default")
            return "" if restarts([pod]) > 0 else describe([pod])

        await until(untold, "the restart to be reported", timeout=20.0)
        after = await await_ready_pods(client, "app=steady", 4)
        assert container_ids(others).items() <= container_ids(after).items()


async def test_the_containers_of_a_pod_share_an_address(
    cluster: LocalCluster, howbectl: Howbectl, examples: Path
):
    manifest = str(examples / "two-containers.yaml")
    await howbectl.ok("apply", "-f", manifest)
    try:
        await howbectl.ok("wait", "--for=condition=Ready", "pod/two-containers")

        async def missing() -> str:
            logs = await howbectl.ok("logs", "two-containers", "-c", "visitor")
            return "" if "visited" in logs else f"a visit: {logs}"

        await until(missing, "one container to reach the other over localhost", timeout=20.0)
    finally:
        await howbectl.ok("delete", "-f", manifest)


async def test_a_container_knows_its_pod(cluster: LocalCluster, howbectl: Howbectl, examples: Path):
    manifest = str(examples / "environment.yaml")
    await howbectl.ok("apply", "-f", manifest)
    try:

        async def missing() -> str:
            pod = await howbectl.json("get", "pod", "introspective")
            return "" if pod["status"].get("phase") == "Succeeded" else str(pod["status"])

        await until(missing, "the pod's end")
        pod = await howbectl.json("get", "pod", "introspective")
        told = await howbectl.ok("logs", "introspective")
        address, node = pod["status"]["podIP"], pod["spec"]["nodeName"]
        assert told.strip() == f"hello from introspective at {address} on {node}, tier demo, in /tmp"
    finally:
        await howbectl.ok("delete", "-f", manifest)


async def test_limits_are_enforced(
    cluster: LocalCluster, howbectl: Howbectl, engine: docker.DockerClient, examples: Path
):
    manifest = str(examples / "resources.yaml")
    await howbectl.ok("apply", "-f", manifest)
    try:
        await howbectl.ok("wait", "--for=condition=Ready", "pod/measured")
        async with client_of(cluster) as client:
            container = container_of(engine, await client.get(core_pb2.Pod, "measured", "default"))
        limits = container.attrs["HostConfig"]
        assert limits["Memory"] == 64 * 2**20
        assert limits["NanoCpus"] == 500_000_000 or limits["CpuQuota"] * 2 == limits["CpuPeriod"]
    finally:
        await howbectl.ok("delete", "-f", manifest, "--grace-period=0")


async def test_exec_runs_in_the_container(howbectl: Howbectl, steady: list[core_pb2.Pod]):
    name = steady[0].metadata.name
    assert (await howbectl.ok("exec", name, "--", "cat", "/etc/passwd")).startswith("root:")
    done = await howbectl.run("exec", name, "--", "sh", "-c", "echo oops >&2; exit 7")
    assert (done.code, "oops" in done.err) == (7, True)


async def test_losing_the_leader_restarts_no_container(cluster: LocalCluster, steady: list[core_pb2.Pod]):
    async with client_of(cluster) as client:
        await await_ready_pods(client, "app=steady", 4)
    lines: list[str] = []
    verdict = await demonstrate(cluster, Plan(rounds=1, calm=1.0, dead=0.5), out=lines.append)
    assert verdict.passed, "\n".join(lines)
    assert verdict.containers >= 4


async def test_a_rolling_update_keeps_enough_pods_available(
    cluster: LocalCluster, howbectl: Howbectl, examples: Path
):
    manifest = str(examples / "deployment.yaml")
    await howbectl.ok("apply", "-f", manifest)
    try:
        await howbectl.ok("rollout", "status", "deployment/web", "--timeout=60s")
        update = (examples / "deployment.yaml").read_text().replace("1.14.2", "1.16.1")
        await howbectl.ok("apply", "-f", "-", stdin=update)
        async with client_of(cluster) as client:

            async def missing() -> str:
                pods = await client.list(core_pb2.Pod, "default", label_selector="app=web")
                ready = [p for p in pods.items if any(s.ready for s in p.status.container_statuses)]
                assert len(ready) >= 4, "maxUnavailable is 0"
                live = [p for p in pods.items if not p.metadata.HasField("deletion_timestamp")]
                assert len(live) <= 5, "maxSurge is 25 % of 4"
                old = [p for p in pods.items if p.spec.containers[0].image != "nginx:1.16.1"]
                return f"{len(old)} old pods to go" if old else ""

            await until(missing, "the update", timeout=90.0)
        await howbectl.ok("rollout", "status", "deployment/web", "--timeout=30s")
        assert (await howbectl.ok("rollout", "history", "deployment/web")).count("\n") >= 3
        await howbectl.ok("rollout", "undo", "deployment/web")
        web = await howbectl.json("get", "deployment", "web")
        assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.14.2"
    finally:
        await howbectl.ok("delete", "-f", manifest)
