"""A whole cluster on plain processes, used as its users use it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from cluster.failover.demonstration import Plan, demonstrate
from cluster.local.bring_up import Running
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster
from cluster.local.probes import ask_pods, fetch
from cluster.local.temporary import await_control_plane, leader_id
from h9s._pb import apps_pb2, core_pb2
from h9s.clock import SystemClock
from h9s.errors import NotFoundError
from tests.e2e.support import (
    Howbectl,
    await_ready_pods,
    client_of,
    container_ids,
    describe,
    pods_of,
    restarts,
    until,
)

CLIENTS = 8


async def test_the_example_answers_at_every_pods_own_address(running: Running):
    assert len(running.answers) == 3
    assert {answer.text for answer in running.answers} == {f"Hello from {a.pod}" for a in running.answers}
    assert len({answer.address for answer in running.answers}) == 3


@pytest.fixture
async def hello(cluster: LocalCluster, howbectl: Howbectl) -> list[core_pb2.Pod]:
    """The example's three pods, whatever an earlier test has done to it."""
    await howbectl.ok("scale", "deployment", "hello", "--replicas=3")
    async with client_of(cluster) as client:
        return await await_ready_pods(client, "app=hello", 3)


async def test_scaling_starts_and_stops_pods(
    cluster: LocalCluster, howbectl: Howbectl, hello: list[core_pb2.Pod]
):
    async with client_of(cluster) as client:
        await howbectl.ok("scale", "deployment", "hello", "--replicas=5")
        pods = await await_ready_pods(client, "app=hello", 5)
        assert {pod.spec.node_name for pod in pods} == {"n1", "n2"}

        async def missing() -> str:
            return "; ".join(f"{a.pod}: {a.fault}" for a in await ask_pods(pods, 8080) if a.fault)

        await until(missing, "answers of all five pods")
        await howbectl.ok("scale", "deploy/hello", "--replicas=3")
        await await_ready_pods(client, "app=hello", 3)


async def test_several_documents_are_applied_together_or_not_at_all(howbectl: Howbectl, examples: Path):
    text = (examples / "namespace.yaml").read_text()
    broken = text.replace("replicas: 2", "replicas: -1")
    done = await howbectl.run("apply", "-f", "-", stdin=broken)
    assert done.code == 1
    assert "spec.replicas" in done.err
    assert (await howbectl.run("get", "namespace", "team")).code == 1
    try:
        await howbectl.ok("apply", "-f", str(examples / "namespace.yaml"))
        await howbectl.ok("rollout", "status", "deployment/api", "-n", "team")
        await howbectl.ok("wait", "--for=condition=Ready", "pod/helper", "-n", "team")
    finally:
        await howbectl.ok("delete", "-f", str(examples / "namespace.yaml"), "--ignore-not-found")
    assert (await howbectl.run("get", "namespace", "team")).code == 1


async def test_restart_policies_are_followed(cluster: LocalCluster, howbectl: Howbectl, examples: Path):
    manifest = str(examples / "restart-policies.yaml")
    async with client_of(cluster) as client:

        async def missing() -> str:
            once, fails, retries = [
                await client.get(core_pb2.Pod, name, "default") for name in ("once", "fails", "retries")
            ]
            waiting = (
                retries.status.container_statuses[0].state.waiting.reason
                if (retries.status.container_statuses)
                else ""
            )
            right = (once.status.phase, fails.status.phase, waiting) == (
                "Succeeded",
                "Failed",
                "CrashLoopBackOff",
            )
            return "" if right else describe([once, fails, retries])

        await howbectl.ok("apply", "-f", manifest)
        try:
            await until(missing, "ends as the policies say", timeout=30.0)
            assert "CrashLoopBackOff" in await howbectl.ok("get", "pods")
            fails = await client.get(core_pb2.Pod, "fails", "default")
            assert fails.status.container_statuses[0].state.terminated.exit_code == 3
            assert "broken" in await howbectl.ok("logs", "fails")
        finally:
            await howbectl.ok("delete", "-f", manifest)


async def test_an_image_that_nobody_has_is_explained(howbectl: Howbectl, examples: Path):
    manifest = str(examples / "missing-image.yaml")
    await howbectl.ok("apply", "-f", manifest)
    try:

        async def missing() -> str:
            pods = await howbectl.ok("get", "pod", "missing-image")
            return "" if "ErrImagePull" in pods or "ImagePullBackOff" in pods else pods

        await until(missing, "ErrImagePull")
        assert "example.invalid/nothing:1" in await howbectl.ok("describe", "pod", "missing-image")
    finally:
        await howbectl.ok("delete", "-f", manifest)


async def test_a_pod_that_fits_nowhere_says_why_and_starts_when_it_fits(
    cluster: LocalCluster, howbectl: Howbectl, examples: Path
):
    text = (examples / "node-selector.yaml").read_text().replace("kubernetes.io/hostname: n2", "disk: fast")
    await howbectl.ok("apply", "-f", "-", stdin=text)
    try:

        async def missing() -> str:
            described = await howbectl.ok("describe", "pod", "choosy")
            return "" if "FailedScheduling" in described and "2" in described else described

        await until(missing, "a FailedScheduling event")
        await howbectl.ok("label", "node", "n1", "disk=fast")
        await howbectl.ok("wait", "--for=condition=Ready", "pod/choosy", "--timeout=20s")
        async with client_of(cluster) as client:
            assert (await client.get(core_pb2.Pod, "choosy", "default")).spec.node_name == "n1"
    finally:
        await howbectl.ok("delete", "pod", "choosy", "--ignore-not-found")
        await howbectl.ok("label", "node", "n1", "disk-")


async def test_eight_howbectls_change_the_same_objects_at_the_same_time(
    cluster: LocalCluster, howbectl: Howbectl, examples: Path
):
    """Nothing that was said to be done is lost, and whoever is refused is told so in one line."""
    manifest = (
        (examples / "deployment.yaml")
        .read_text()
        .replace("  replicas: 4\n", "")
        .replace("nginx:1.14.2", "h9s-hello:1")
    )
    created = await asyncio.gather(
        *(howbectl.run("create", "-f", "-", stdin=manifest) for _ in range(CLIENTS))
    )
    try:
        assert sorted(done.code for done in created) == [0] + [1] * (CLIENTS - 1)
        for done in created:
            if done.code:
                assert "AlreadyExists" in done.err
                assert len(done.err.strip().splitlines()) == 1

        async def user(number: int) -> None:
            for turn in range(3):
                scaled = await howbectl.run("scale", "deployment", "web", f"--replicas={number % 3}")
                applied = await howbectl.run("apply", "-f", "-", stdin=manifest)
                labelled = await howbectl.run(
                    "label", "deployment", "web", f"user-{number}={turn}", "--overwrite"
                )
                for done in (scaled, applied, labelled):
                    assert done.code == 0 or "Conflict" in done.err, done.err
                    assert "Traceback" not in done.err
                if labelled.code == 0:
                    web = await howbectl.json("get", "deployment", "web")
                    assert web["metadata"]["labels"][f"user-{number}"] == str(turn)

        await asyncio.gather(*(user(number) for number in range(CLIENTS)))
        web = await howbectl.json("get", "deployment", "web")
        labels = {f"user-{number}": "2" for number in range(CLIENTS)}
        assert labels.items() <= web["metadata"]["labels"].items()
        await howbectl.ok("scale", "deployment", "web", "--replicas=2")
        async with client_of(cluster) as client:
            await await_ready_pods(client, "app=web", 2)
            replica_sets = (await client.list(apps_pb2.ReplicaSet, "default", label_selector="app=web")).items
            assert len(replica_sets) == 1
    finally:
        await howbectl.ok("delete", "deployment", "web")


async def test_a_restarted_howbelet_adopts_what_runs(
    cluster: LocalCluster, howbectl: Howbectl, hello: list[core_pb2.Pod]
):
    async with client_of(cluster) as client:
        for name in cluster.node_names:
            cluster.kill(name)
            cluster.start(name)
        # Two more pods on each worker: the restarted howbelets are at work.
        await howbectl.ok("scale", "deployment", "hello", "--replicas=7")
        pods = await await_ready_pods(client, "app=hello", 7)
        now = container_ids(pods)
        assert container_ids(hello).items() <= now.items()
        assert restarts(pods) == 0
        assert {pod.spec.node_name for pod in pods} == {"n1", "n2"}


async def test_pods_run_on_while_the_control_plane_is_away(cluster: LocalCluster, hello: list[core_pb2.Pod]):
    async with client_of(cluster) as client:
        pods, before = hello, container_ids(hello)
        cluster.kill(*REPLICA_IDS)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 7.0
        while loop.time() < until_then:
            for pod in pods:
                assert await fetch(pod.status.pod_ip, 8080) == f"Hello from {pod.metadata.name}"
            await asyncio.sleep(0.5)
        for replica_id in REPLICA_IDS:
            cluster.start(replica_id)
        await await_control_plane(cluster)
        assert container_ids(await await_ready_pods(client, "app=hello", 3)) == before


async def test_losing_the_leader_twice_loses_nothing(cluster: LocalCluster, hello: list[core_pb2.Pod]):
    """The demonstration, as scripts/demo-failover runs it."""
    lines: list[str] = []
    verdict = await demonstrate(cluster, Plan(rounds=2, calm=1.0, dead=0.5), out=lines.append)
    assert verdict.passed, "\n".join(lines)
    assert verdict.containers >= 3
    assert max(verdict.gaps) < 5.0
    assert any("SIGKILL" in line for line in lines)


async def test_a_failover_evicts_nothing(cluster: LocalCluster, hello: list[core_pb2.Pod]):
    async with client_of(cluster) as client:
        before = container_ids(hello)
        victim = await leader_id(cluster)
        cluster.kill(victim)
        # Longer than a node may be silent.
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 7.0
        while loop.time() < until_then:
            nodes = (await client.list(core_pb2.Node)).items
            for node in nodes:
                assert [c.status for c in node.status.conditions if c.type == "Ready"] == ["True"]
            await asyncio.sleep(0.5)
        cluster.start(victim)
        await await_control_plane(cluster)
        assert container_ids(await await_ready_pods(client, "app=hello", 3)) == before


async def test_a_dead_address_costs_the_user_nothing_visible(cluster: LocalCluster, howbectl: Howbectl):
    clock = SystemClock()

    async def longest() -> float:
        """Of five reads and five writes, whichever address each happens to try first."""
        longest = 0.0
        for number in range(5):
            for words in (["get", "pods"], ["label", "node", "n1", f"turn={number}", "--overwrite"]):
                begin = clock.monotonic()
                done = await howbectl.run(*words)
                assert (done.code, done.err) == (0, "")
                longest = max(longest, clock.monotonic() - begin)
        return longest

    usual = await longest()
    victim = await leader_id(cluster)
    cluster.kill(victim)
    try:
        await await_control_plane(cluster, replicas=[one for one in REPLICA_IDS if one != victim])
        assert await longest() < 2 * usual + 1.0
    finally:
        cluster.start(victim)
        await await_control_plane(cluster)


async def test_the_pods_of_a_dead_worker_are_replaced_elsewhere(
    cluster: LocalCluster, hello: list[core_pb2.Pod]
):
    async with client_of(cluster) as client:
        cluster.signal("n2", signal.SIGSTOP)
        try:
            # 5 s until the node counts as lost, 5 s until its pods do, and the new ones have to start.
            pods = await await_ready_pods(client, "app=hello", 3, nodes=["n1"], timeout=20.0)
            assert {pod.spec.node_name for pod in pods} == {"n1"}
        finally:
            cluster.signal("n2", signal.SIGCONT)

        async def missing() -> str:
            node = await client.get(core_pb2.Node, "n2")
            ready = [c.status for c in node.status.conditions if c.type == "Ready"]
            pods = [p for p in (await client.list(core_pb2.Pod, "default")).items if p.spec.node_name == "n2"]
            return "" if ready == ["True"] and not pods else f"n2 Ready {ready}, {describe(pods)}"

        await until(missing, "the worker to be back, without its old pods", timeout=30.0)


async def test_a_machine_joins_with_a_token(cluster: LocalCluster, howbectl: Howbectl, tmp_path: Path):
    ports = cluster.layout.node_ports("n3")
    printed = await howbectl.ok("worker", "join")
    command = next(line for line in printed.splitlines() if "howbelet --join" in line).strip()
    words = command.split()
    address, token = words[words.index("--join") + 1], words[words.index("--token") + 1]
    howbelet = await asyncio.create_subprocess_exec(
        str(cluster.programs / "howbelet"),
        *("--join", address, "--token", token, "--node-name", "n3", "--data-dir", str(tmp_path / "n3")),
        *("--runtime", "process", "--address", "127.0.0.1", "--port", str(ports.grpc)),
        *("--metrics-address", f"127.0.0.1:{ports.metrics}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    pod = """
kind: Pod
metadata: {name: guest}
spec:
  nodeSelector: {kubernetes.io/hostname: n3}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: sleeper, image: busybox, command: [sleep, "1000"]}
"""
    try:

        async def unready() -> str:
            done = await howbectl.run("wait", "--for=condition=Ready", "node/n3", "--timeout=20s")
            return "" if done.code == 0 else done.err

        await until(unready, "node n3 to be ready", timeout=30.0)
        await howbectl.ok("apply", "-f", "-", stdin=pod)
        await howbectl.ok("wait", "--for=condition=Ready", "pod/guest")
        assert "n3" in await howbectl.ok("worker")
        await howbectl.ok("delete", "pod", "guest")
    finally:
        howbelet.terminate()
        await howbelet.wait()
        await howbectl.run("delete", "node", "n3")
    async with client_of(cluster) as client:

        async def missing() -> str:
            try:
                await client.get(core_pb2.Node, "n3")
            except NotFoundError:
                return ""
            return "node n3 to be gone"

        await until(missing, "the node's end")
        assert await pods_of(client, "app=guest") == []


async def test_a_token_of_another_cluster_or_a_used_up_one_is_refused(
    cluster: LocalCluster, howbectl: Howbectl, tmp_path: Path
):
    token = (await howbectl.ok("worker", "token")).strip().splitlines()[-1]
    parts = token.split(".")
    forged = ".".join([parts[0], parts[1], "0" * len(parts[2]), parts[3]])
    join = f"127.0.0.1:{cluster.layout.replica_ports('r1').join}"
    howbelet = await asyncio.create_subprocess_exec(
        str(cluster.programs / "howbelet"),
        *("--join", join, "--token", forged, "--node-name", "n9", "--data-dir", str(tmp_path / "n9")),
        *("--runtime", "process", "--address", "127.0.0.1", "--port", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, err = await howbelet.communicate()
    assert howbelet.returncode not in (0, None)
    assert b"token" in err
    assert not (tmp_path / "n9" / "howbelet.yaml").exists()
