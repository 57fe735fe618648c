"""What only an engine can show: sandboxes, limits, ports of the machine, images."""

from __future__ import annotations

import asyncio
import urllib.request

import docker
import pytest
import pytest_asyncio

from cluster.images.engine import ensure_images
from cluster.images.recipes import SHELL, WEB
from h9s._pb import core_pb2
from h9s.kubelet.docker import labels
from tests.integration.kubelet.drivers import IMAGE, until
from tests.integration.kubelet.live import free_ports, living, make_pod

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

#: No tag: the pull policy is Always.
UNTAGGED = "busybox"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory):
    ensure_images({IMAGE: SHELL, "busybox:latest": SHELL, "nginx:1.15": WEB})
    async with living("docker", tmp_path_factory.mktemp("node")) as live:
        yield live


@pytest.fixture(scope="module")
def engine():
    client = docker.APIClient()
    yield client
    client.close()


def container_id(pod, number=0):
    return pod.status.container_statuses[number].container_id.removeprefix("docker://")


def sandbox_of(engine, pod):
    wanted = [f"{labels.POD_UID}={pod.metadata.uid}", f"{labels.ROLE}=sandbox"]
    return [entry["Id"] for entry in engine.containers(all=True, filters={"label": wanted})]


def busybox(*command, image=IMAGE, name="main", **fields):
    return core_pb2.Container(name=name, image=image, command=command, **fields)


def restarted(count=1):
    def check(pod):
        return all(one.restart_count == count and one.ready for one in pod.status.container_statuses)

    return check


async def seconds_until(live, name, condition):
    loop = asyncio.get_running_loop()
    started = loop.time()
    pod = await live.until_pod(name, condition)
    return loop.time() - started, pod


async def test_a_removed_container_is_back_within_two_seconds(live, engine):
    pod = await live.run(make_pod("removed", busybox("sleep", "1000")))
    await asyncio.to_thread(engine.remove_container, container_id(pod), force=True)
    seconds, again = await seconds_until(live, "removed", restarted())
    assert seconds < 2
    assert again.status.pod_ip == pod.status.pod_ip


@pytest.mark.parametrize("how", ["kill", "remove"])
async def test_a_dead_sandbox_is_replaced_with_all_containers_within_two_seconds(live, engine, how):
    name = f"sandbox-{how}"
    # As process 1 these do not hear SIGTERM.
    pod = await live.run(make_pod(name, busybox("sleep", "1000"), busybox("sleep", "1000", name="two")))
    (old,) = sandbox_of(engine, pod)
    end = engine.kill if how == "kill" else lambda found: engine.remove_container(found, force=True)
    await asyncio.to_thread(end, old)
    seconds, _ = await seconds_until(live, name, restarted())
    assert seconds < 2

    async def one_left():
        return len(sandbox_of(engine, pod)) == 1

    await until(one_left)
    (new,) = sandbox_of(engine, pod)
    assert new != old


async def test_limits_and_requests_are_the_engines(live, engine):
    container = busybox("sleep", "1000")
    container.resources.requests.update({"cpu": "250m", "memory": "16Mi"})
    container.resources.limits.update({"cpu": "500m", "memory": "32Mi"})
    pod = await live.run(make_pod("limited", container))
    host = engine.inspect_container(container_id(pod))["HostConfig"]
    assert host["Memory"] == 32 << 20
    assert host["CpuQuota"] / host["CpuPeriod"] == 0.5
    assert host["CpuShares"] == 256
    assert pod.status.qos_class == "Burstable"


async def test_a_container_that_takes_too_much_memory_is_shown_as_killed_for_it(live):
    container = busybox("sh", "-c", "x=a; while true; do x=$x$x; done")
    container.resources.limits["memory"] = "8Mi"
    await live.client.create(make_pod("greedy", container, restart_policy="Never"))
    pod = await live.until_pod("greedy", lambda pod: pod.status.phase == "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)


async def test_a_port_of_the_machine_leads_into_the_pod(live):
    (port,) = free_ports(1)
    container = core_pb2.Container(
        name="web",
        image="nginx:1.15",
        ports=[core_pb2.ContainerPort(container_port=80, host_port=port, host_ip="127.0.0.1")],
    )
    await live.run(make_pod("exposed", container))

    def read():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            return answer.read()

    async def answers():
        try:
            return await asyncio.to_thread(read)
        except OSError:
            return b""

    assert b"Welcome to nginx!" in await until(answers)


async def test_a_port_that_is_taken_is_told_and_waited_for(live):
    (port,) = free_ports(1)

    def web():
        return core_pb2.Container(
            name="web",
            image="nginx:1.15",
            ports=[core_pb2.ContainerPort(container_port=80, host_port=port, host_ip="127.0.0.1")],
        )

    await live.run(make_pod("first", web()))
    await live.client.create(make_pod("second", web()))

    def is_told(pod):
        statuses = pod.status.container_statuses
        return statuses and str(port) in statuses[0].state.waiting.message

    await live.until_pod("second", is_told)
    await live.client.delete(core_pb2.Pod, "first")
    await live.until_pod("second", restarted(0))


async def test_the_local_image_is_used_where_the_pull_fails_and_the_user_is_told(live):
    pod = await live.run(make_pod("untagged", busybox("sleep", "1000", image=UNTAGGED)))
    assert pod.spec.containers[0].image_pull_policy == "Always"

    async def told():
        events = (await live.client.list(core_pb2.Event, "default")).items
        return [
            event.message
            for event in events
            if event.involved_object.name == "untagged" and event.reason == "ImageNotPulled"
        ]

    (message,) = await until(told)
    assert "could not be pulled; the one on this machine is used instead" in message


async def test_an_image_that_may_not_be_pulled_is_not(live):
    container = core_pb2.Container(name="main", image="no-such-image:1", image_pull_policy="Never")
    await live.client.create(make_pod("never", container))

    def is_waiting(pod):
        statuses = pod.status.container_statuses
        return statuses and statuses[0].state.waiting.reason == "ErrImageNeverPull"

    await live.until_pod("never", is_waiting)


async def test_the_pods_name_is_the_host_name_and_containers_are_named_after_it(live, engine):
    pod = await live.run(make_pod("named", busybox("sleep", "1000")))
    assert await live.exec("named", "hostname") == (b"named\n", b"", 0)
    inspected = engine.inspect_container(container_id(pod))
    assert inspected["Name"] == f"/h9s_main_named_default_{pod.metadata.uid[:8]}_0"
    assert inspected["Config"]["Labels"][labels.NODE] == "n1"


async def test_arguments_alone_leave_the_images_command_to_its_entrypoint(live):
    # The image has a CMD and no ENTRYPOINT: arguments take the CMD's place.
    container = core_pb2.Container(name="main", image=IMAGE, args=["echo", "from args"])
    await live.client.create(make_pod("arguments", container, restart_policy="Never"))
    await live.until_pod("arguments", lambda pod: pod.status.phase == "Succeeded")
    assert await live.logs("arguments") == b"from args\n"
