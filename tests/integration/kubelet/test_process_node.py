"""What only processes of this machine can show: shims, their death, and what is not enforced."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import pytest_asyncio

from h9s._pb import api_pb2, core_pb2
from h9s.kubelet.process import images, records, shim
from h9s.kubelet.process.records import ContainerId, PodDirectory, read_json
from h9s.kubelet.runtime import RuntimeFailureError
from tests.integration.kubelet.drivers import Bench, Driver, until
from tests.integration.kubelet.live import living, make_pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory):
    async with living("process", tmp_path_factory.mktemp("node")) as live:
        yield live


def shell(script, **fields):
    return core_pb2.Container(name="main", image="busybox", command=["sh", "-c", script], **fields)


def directory_of(live, pod):
    parsed = ContainerId.parse(pod.status.container_statuses[0].container_id.rpartition("/")[2])
    return PodDirectory(live.folder / "data" / "process", parsed.pod_uid).container(
        parsed.name, parsed.attempt
    )


def record(live, pod, name):
    found = read_json(directory_of(live, pod) / name)
    assert found is not None
    return found


def restarted(pod):
    return pod.status.container_statuses[0].restart_count == 1 and pod.status.container_statuses[0].ready


async def events_of(live, name, reason):
    events = (await live.client.list(core_pb2.Event, "default")).items
    return [
        event.message for event in events if event.involved_object.name == name and event.reason == reason
    ]


async def test_a_killed_shim_takes_its_program_along_and_both_are_replaced(live):
    pod = await live.run(make_pod("orphan", shell("sleep 1000")))
    shim, program = record(live, pod, "shim.json"), record(live, pod, "start.json")
    loop = asyncio.get_running_loop()
    started = loop.time()
    os.kill(shim["pid"], signal.SIGKILL)
    again = await live.until_pod("orphan", restarted)
    assert loop.time() - started < 2
    assert not records.is_alive(program)
    ended = again.status.container_statuses[0].last_state.terminated
    assert ended.exit_code == 137
    assert "its shim was killed" in ended.message


async def test_a_second_shim_does_not_start_the_program_again(live):
    pod = await live.run(make_pod("single", shell("echo started; sleep 1000")))
    folder = directory_of(live, pod)
    before = record(live, pod, "start.json")
    process = await asyncio.create_subprocess_exec(*images.PYTHON, str(shim.__file__), str(folder))
    assert await process.wait() == 1
    assert record(live, pod, "start.json") == before
    assert await live.logs("single") == b"started\n"


async def test_pods_have_working_directories_of_their_own(live):
    for name in ("one", "two"):
        await live.run(make_pod(f"dir-{name}", shell(f"cat note; echo {name} >note; sleep 1000")))

    async def said():
        return [await live.logs(f"dir-{name}") for name in ("one", "two")]

    for output in await said():
        assert b"two" not in output
        assert b"one" not in output


async def test_what_is_not_enforced_is_told(live):
    container = shell("sleep 1000", ports=[core_pb2.ContainerPort(container_port=80, host_port=18099)])
    container.resources.limits["memory"] = "1Gi"
    await live.run(make_pod("limited", container))

    async def told():
        return len(await events_of(live, "limited", "NotEnforced")) == 2

    await until(told)


async def test_an_image_nobody_knows_runs_the_containers_command_and_says_so(live):
    container = core_pb2.Container(name="main", image="nginx:1", command=["sleep", "1000"])
    await live.run(make_pod("strange", container))

    async def told():
        return await events_of(live, "strange", "ImageNotPulled")

    (message,) = await until(told)
    assert "no image 'nginx:1'" in message


async def test_a_command_whose_caller_leaves_is_ended(live):
    pod = await live.run(make_pod("left", shell("sleep 1000")))
    start = api_pb2.ExecRequest.Start(
        namespace="default", pod=pod.metadata.name, command=["sh", "-c", "echo $$; sleep 1000"]
    )
    call = await live.client.exec(start)
    answer = await call.read()
    assert answer is not None
    pid = int(answer.stdout)
    assert os.path.exists(f"/proc/{pid}")
    call.cancel()

    async def ended():
        return not os.path.exists(f"/proc/{pid}")

    await until(ended)


async def test_a_restart_of_the_machine_is_survived(live):
    pod = await live.run(make_pod("rebooted", shell("sleep 1000")))
    await live.kill()
    # Nothing of the pod runs any more, and nobody could note how it ended.
    for name in ("shim.json", "start.json"):
        os.kill(record(live, pod, name)["pid"], signal.SIGKILL)
    await live.start()
    again = await live.until_pod("rebooted", restarted)
    assert again.status.pod_ip == pod.status.pod_ip


async def test_a_shim_that_fails_is_the_containers_problem_alone(tmp_path, monkeypatch):
    broken = tmp_path / "shim.py"
    broken.write_text(
        "import sys; open(sys.argv[1] + '/shim.err', 'w').write('OSError: no space'); sys.exit(1)"
    )
    monkeypatch.setattr("h9s.kubelet.process.runtime._SHIM", broken)
    async with Driver("process", tmp_path).opened() as runtime:
        with pytest.raises(RuntimeFailureError, match="its shim failed: OSError: no space"):
            await Bench(runtime).run("sleep", "1000")
