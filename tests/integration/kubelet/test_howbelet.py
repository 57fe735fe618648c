"""A howbelet's process between a real apiserver and real containers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request

import docker
import grpc.aio
import pytest
import pytest_asyncio

from cluster.images.engine import ensure_images
from cluster.images.recipes import HELLO, HELLO_IMAGE, SHELL
from h9s import pki
from h9s._pb import api_pb2, api_pb2_grpc, core_pb2
from h9s.client.grpc_transport import open_channel
from h9s.kubelet.process.records import ContainerId, PodDirectory, read_json
from tests.integration.kubelet.drivers import IMAGE, until
from tests.integration.kubelet.live import Live, living, make_pod

# One node for all tests of a runtime: each test has pods of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["process", pytest.param("docker", marks=pytest.mark.docker)],
)
async def live(request, tmp_path_factory):
    if request.param == "docker":
        ensure_images({IMAGE: SHELL, HELLO_IMAGE: HELLO})
    async with living(request.param, tmp_path_factory.mktemp("node")) as live:
        yield live


def busybox(*command, name="main", **fields):
    return core_pb2.Container(
        name=name, image=IMAGE, command=command, image_pull_policy="IfNotPresent", **fields
    )


def kill_behind_its_back(live: Live, pod: core_pb2.Pod) -> None:
    container_id = pod.status.container_statuses[0].container_id.rpartition("/")[2]
    if live.runtime == "docker":
        client = docker.from_env()
        client.api.kill(container_id)
        client.close()
    else:
        parsed = ContainerId.parse(container_id)
        folder = PodDirectory(live.folder / "data" / "process", parsed.pod_uid)
        started = read_json(folder.container(parsed.name, parsed.attempt) / "start.json")
        assert started is not None
        os.kill(started["pid"], signal.SIGKILL)


def restart_count(pod: core_pb2.Pod) -> int:
    return pod.status.container_statuses[0].restart_count


async def fetch(address: str) -> str:
    def read() -> str:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return str(answer.read().decode())

    async def look() -> str:
        try:
            return await asyncio.to_thread(read)
        except OSError:
            return ""

    return str(await until(look))


async def test_a_server_answers_at_the_pods_address(live):
    container = core_pb2.Container(name="web", image=HELLO_IMAGE, image_pull_policy="IfNotPresent")
    pod = await live.run(make_pod("hello", container))
    assert pod.status.host_ip == "127.0.0.1"
    assert "Hello from hello" in await fetch(f"http://{pod.status.pod_ip}:8080/")


async def test_a_killed_container_is_back_within_two_seconds(live):
    pod = await live.run(make_pod("restored", busybox("sleep", "1000")))
    loop = asyncio.get_running_loop()
    killed_at = loop.time()
    kill_behind_its_back(live, pod)
    again = await live.until_pod(
        "restored", lambda found: restart_count(found) == 1 and found.status.container_statuses[0].ready
    )
    assert loop.time() - killed_at < 2
    assert again.status.pod_ip == pod.status.pod_ip
    assert again.status.container_statuses[0].last_state.terminated.exit_code == 137


async def test_logs_and_commands_go_through_the_apiserver(live):
    script = "echo one; echo two >&2; read line; exit 3"
    await live.run(make_pod("talker", busybox("sh", "-c", script, stdin=True)))

    async def written():
        return len((await live.logs("talker")).splitlines()) == 2

    await until(written)
    assert sorted((await live.logs("talker")).splitlines()) == [b"one", b"two"]
    following = asyncio.create_task(live.logs("talker", follow=True))
    command = ("sh", "-c", "read x; echo got $x; echo oops >&2; exit 7")
    assert await live.exec("talker", *command, stdin=b"it\n") == (b"got it\n", b"oops\n", 7)
    kill_behind_its_back(live, await live.pod("talker"))
    assert sorted((await asyncio.wait_for(following, 10)).splitlines()) == [b"one", b"two"]
    await live.until_pod("talker", lambda pod: restart_count(pod) == 1)
    assert sorted((await live.logs("talker", previous=True)).splitlines()) == [b"one", b"two"]


async def test_a_crashing_container_backs_off_and_says_so(live):
    await live.client.create(make_pod("crasher", busybox("sh", "-c", "echo dying; exit 9")))

    def is_waiting(pod):
        statuses = pod.status.container_statuses
        return statuses and statuses[0].state.waiting.reason == "CrashLoopBackOff"

    pod = await live.until_pod("crasher", is_waiting)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 9
    assert b"dying" in await live.logs("crasher")

    async def told():
        events = (await live.client.list(core_pb2.Event, "default")).items
        return {"BackOff", "Started", "Created", "Pulled"} <= {
            event.reason for event in events if event.involved_object.name == "crasher"
        }

    await until(told)


async def test_a_job_like_pod_ends(live):
    pod = make_pod("job", busybox("sh", "-c", "echo done"), restart_policy="Never")
    await live.client.create(pod)
    found = await live.until_pod("job", lambda pod: pod.status.phase == "Succeeded")
    assert found.status.container_statuses[0].state.terminated.reason == "Completed"
    assert await live.logs("job") == b"done\n"


async def test_an_image_that_cannot_be_had_says_why(live):
    container = core_pb2.Container(name="main", image="registry.invalid/no/such:1")
    await live.client.create(make_pod("pending", container))

    def is_waiting(pod):
        statuses = pod.status.container_statuses
        return statuses and statuses[0].state.waiting.reason == "ErrImagePull"

    pod = await live.until_pod("pending", is_waiting)
    assert "registry.invalid/no/such:1" in pod.status.container_statuses[0].state.waiting.message


async def test_containers_of_a_pod_share_one_address(live):
    show = "echo $IP; sleep 1000"
    variable = core_pb2.EnvVar(name="IP")
    variable.value_from.field_ref.field_path = "status.podIP"
    pod = await live.run(
        make_pod(
            "pair",
            busybox("sh", "-c", show, env=[variable], name="one"),
            busybox("sh", "-c", show, env=[variable], name="two"),
        )
    )
    for container in ("one", "two"):

        async def written(container=container):
            return await live.logs("pair", container=container)

        assert (await until(written)).decode().strip() == pod.status.pod_ip


async def test_a_deleted_pod_is_stopped_and_forgotten(live):
    pod = await live.run(make_pod("brief", busybox("sleep", "1000")))
    deleted = await live.client.delete(core_pb2.Pod, "brief")
    assert deleted.metadata.HasField("deletion_timestamp")
    await live.gone("brief")
    with pytest.raises(AssertionError):
        kill_behind_its_back_or_fail(live, pod)


def kill_behind_its_back_or_fail(live: Live, pod: core_pb2.Pod) -> None:
    try:
        kill_behind_its_back(live, pod)
    except (docker.errors.APIError, ProcessLookupError) as error:
        raise AssertionError("it is gone") from error


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_howbelet_that_comes_back_takes_up_its_pods(live, how):
    steady, late = f"steady-{how}", f"late-{how}"
    pod = await live.run(make_pod(steady, busybox("sleep", "1000")))
    if how == "stop":
        assert await live.stop() == 0
    else:
        await live.kill()
    await live.client.create(make_pod(late, busybox("sleep", "1000")))
    await live.start()
    await live.until_pod(late, lambda found: found.status.phase == "Running")
    again = await live.pod(steady)
    before, after = pod.status.container_statuses[0], again.status.container_statuses[0]
    assert (after.container_id, after.restart_count) == (before.container_id, 0)
    assert again.status.pod_ip == pod.status.pod_ip


async def test_what_happened_while_the_howbelet_was_away_is_made_good(live):
    pod = await live.run(make_pod("wanted", busybox("sleep", "1000")))
    await live.run(make_pod("unwanted", busybox("sleep", "1000")))
    await live.stop()
    kill_behind_its_back(live, pod)
    await live.client.delete(core_pb2.Pod, "unwanted")
    await live.start()
    await live.until_pod("wanted", lambda found: restart_count(found) == 1)
    await live.gone("unwanted")


async def test_only_replicas_and_administrators_reach_into_containers(live):
    await live.run(make_pod("guarded", busybox("sleep", "99")))
    request = api_pb2.LogsRequest(namespace="default", pod="guarded")

    async def read(role):
        config = live.cluster.config("somebody", role)
        channel = open_channel(f"127.0.0.1:{live.port}", config, target_name=pki.HOWBELET_NAME)
        try:
            return [answer async for answer in api_pb2_grpc.PodsStub(channel).Logs(request)]
        finally:
            await channel.close()

    assert await read(pki.ROLE_ADMIN) == []
    assert await read(pki.ROLE_REPLICA) == []
    for role in (pki.ROLE_NODE, pki.ROLE_COMPONENT):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(role)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_metrics_are_served(live):
    await live.run(make_pod("measured", busybox("sleep", "99")))
    metrics = await fetch(f"http://127.0.0.1:{live.metrics_port}/metrics")
    assert re.search(r"^h9s_kubelet_pod_start_seconds_count [1-9]", metrics, re.MULTILINE)
    assert "h9s_kubelet_runtime_operation_seconds_bucket" in metrics


async def test_two_howbelets_do_not_share_a_data_directory(live):
    second = await live.command()
    assert await second.wait() != 0
    assert "another howbelet uses the data directory" in live.log.read_text()


async def test_a_howbelet_that_was_told_nothing_says_what_it_needs(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "h9s.kubelet", "--data-dir", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"give --client-config, or --join and --token" in errors
