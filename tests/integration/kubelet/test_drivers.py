"""What every runtime has to do, on real processes and on a real engine."""

from __future__ import annotations

import asyncio

import pytest

from h9s.kubelet.observed import EXIT_KILLED, State
from h9s.kubelet.runtime import (
    GoneError,
    ImagePullError,
    RuntimeFailureError,
    SandboxConfig,
    StartContainerError,
)
from tests.integration.kubelet.drivers import IMAGE, Bench, Driver, listen, until

SLEEP = ("sleep", "1000")


async def test_a_sandbox_has_an_address_of_its_own(bench, runtime):
    sandbox_id = await bench.sandbox()
    other = Bench(runtime, uid="0e0f0a0b-other")
    await other.sandbox()
    first, second = [await runtime.observe(one.pod.uid) for one in (bench, other)]
    assert first.identity == bench.pod
    assert first.sandbox.id == sandbox_id
    assert first.sandbox.address
    assert first.sandbox.address != second.sandbox.address
    await runtime.remove_sandbox(sandbox_id)
    assert (await runtime.observe(bench.pod.uid)).is_empty
    await runtime.remove_sandbox(sandbox_id)
    assert set(await runtime.observe_all()) == {other.pod.uid}


async def test_a_container_goes_from_created_over_running_to_exited(bench, runtime):
    container_id = await bench.create(
        "sh", "-c", "read line; exit 3", stdin=True, spec_hash="abc", grace_seconds=7
    )
    created = await bench.look(container_id)
    assert (created.state, created.name, created.attempt) == (State.CREATED, "main", 0)
    assert (created.spec_hash, created.grace_seconds, created.image) == ("abc", 7, IMAGE)
    assert created.sandbox_id == bench.sandbox_id
    await runtime.start_container(container_id)
    running = await bench.look(container_id)
    assert running.state is State.RUNNING
    assert running.started_at is not None
    assert running.started_at >= created.created_at - 1
    await runtime.kill_container(container_id)
    ended = await bench.ended(container_id)
    assert (ended.state, ended.exit_code, ended.reason) == (State.EXITED, EXIT_KILLED, "Error")
    assert ended.finished_at >= running.started_at


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error")])
async def test_an_exit_code_is_kept(bench, code, reason):
    container_id = await bench.run("sh", "-c", f"exit {code}")
    ended = await bench.ended(container_id)
    assert (ended.exit_code, ended.reason) == (code, reason)


async def test_a_program_that_does_not_exist_says_so(bench, runtime):
    container_id = await bench.create("/no/such/program")
    with pytest.raises(StartContainerError, match="/no/such/program"):
        await runtime.start_container(container_id)
    ended = await bench.look(container_id)
    assert (ended.state, ended.reason, ended.exit_code) == (State.EXITED, "ContainerCannotRun", 127)
    assert "/no/such/program" in ended.message


async def test_the_environment_the_directory_and_the_host_name_are_the_containers(bench):
    container_id = await bench.run(
        "sh", "-c", "echo $A/$HOSTNAME; pwd", env=(("A", "1 2"),), working_dir="/srv/data"
    )
    await bench.ended(container_id)
    lines = (await bench.output(container_id)).decode().splitlines()
    assert lines[0] == "1 2/web"
    assert lines[1].endswith("/srv/data")


async def test_nothing_of_the_howbelets_environment_gets_through(bench, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOWBELET", "x")
    container_id = await bench.run("env")
    await bench.ended(container_id)
    output = await bench.output(container_id)
    assert b"SECRET_OF_THE_HOWBELET" not in output
    assert b"PATH=/usr/local/sbin:" in output


async def test_output_can_be_read_in_parts(bench):
    container_id = await bench.run("sh", "-c", "echo one; echo two; printf three")
    await bench.ended(container_id)
    assert await bench.output(container_id) == b"one\ntwo\nthree"
    assert await bench.output(container_id, tail_lines=2) == b"two\nthree"
    stamped = (await bench.output(container_id, timestamps=True)).decode().splitlines()
    assert [line.partition(" ")[2] for line in stamped] == ["one", "two", "three"]
    assert all(line[:2] == "20" and line.partition(" ")[0].endswith("Z") for line in stamped)
    ended = await bench.look(container_id)
    assert await bench.output(container_id, since=ended.finished_at + 1) == b""


async def test_a_long_line_has_one_time_and_stays_one_line(bench):
    container_id = await bench.run("sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")
    await bench.ended(container_id)
    stamped = (await bench.output(container_id, timestamps=True)).decode().splitlines()
    assert [line.partition(" ")[2] for line in stamped] == ["x" * 40000, "end"]


async def test_following_output_ends_with_the_container(bench, runtime):
    container_id = await bench.run("sh", "-c", "echo one; read line; echo two", stdin=True)
    following = asyncio.create_task(bench.output(container_id, follow=True))

    async def has_begun():
        return await bench.output(container_id) == b"one\n"

    await until(has_begun)
    assert not following.done()
    await runtime.kill_container(container_id)
    assert await asyncio.wait_for(following, 10) == b"one\n"


async def test_sigterm_lets_a_program_end_its_own_way(bench, runtime):
    container_id = await bench.run(
        "sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while true; do sleep 0.05; done"
    )

    async def is_up():
        return await bench.output(container_id)

    await until(is_up)
    await runtime.terminate_container(container_id)
    ended = await bench.ended(container_id)
    assert ended.exit_code == 5
    assert await bench.output(container_id) == b"up\nbye\n"
    await runtime.terminate_container(container_id)
    await runtime.kill_container(container_id)


async def test_nothing_outlives_the_main_process(bench, driver):
    container_id = await bench.run("sh", "-c", "(sleep 4321.25 &); setsid sleep 4321.25 & exit 0")
    await bench.ended(container_id)
    found = await asyncio.create_subprocess_exec(
        "pgrep", "-f", "^sleep 4321.25", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await found.communicate()
    assert output == b""


async def test_what_is_gone_is_gone(bench, runtime):
    container_id = await bench.run(*SLEEP)
    await runtime.remove_container(container_id)
    await runtime.remove_container(container_id)
    assert (await runtime.observe(bench.pod.uid)).containers == ()
    with pytest.raises(GoneError):
        await runtime.start_container(container_id)
    await runtime.remove_sandbox(bench.sandbox_id)
    with pytest.raises(GoneError):
        await bench.create(*SLEEP)


async def test_a_change_is_heard_of_at_once(bench, runtime):
    heard: list[str] = []

    listening = asyncio.create_task(listen(runtime, heard))

    async def connected():
        return "" in heard

    await until(connected)
    container_id = await bench.run("sh", "-c", "read line", stdin=True)
    await asyncio.sleep(0)
    heard.clear()
    await runtime.kill_container(container_id)

    async def told():
        return bench.pod.uid in heard

    await until(told, seconds=2)
    await bench.ended(container_id)
    listening.cancel()


async def test_a_restarted_howbelet_finds_everything_and_what_happened_meanwhile(driver):
    async with driver.opened(keep=True) as runtime:
        bench = Bench(runtime)
        steady = await bench.run(*SLEEP)
        brief = await bench.run("sh", "-c", "read line; exit 4", name="brief", stdin=True)
        before = await runtime.observe(bench.pod.uid)
    async with driver.opened() as runtime:
        assert await runtime.observe_all() == {bench.pod.uid: before}
        bench.runtime = runtime
        heard: list[str] = []

        listening = asyncio.create_task(listen(runtime, heard))

        async def connected():
            return "" in heard

        await until(connected)
        await runtime.kill_container(brief)
        assert (await bench.ended(brief)).exit_code == EXIT_KILLED
        assert (await bench.look(steady)).state is State.RUNNING

        async def told():
            return bench.pod.uid in heard

        await until(told, seconds=2)
        listening.cancel()


async def test_nodes_on_one_machine_do_not_see_each_others_pods(driver):
    async with driver.opened(node="n1") as one, driver.opened(node="n2") as two:
        await Bench(one, uid="11111111-a").run(*SLEEP)
        await Bench(two, uid="22222222-b").run(*SLEEP)
        assert set(await one.observe_all()) == {"11111111-a"}
        assert set(await two.observe_all()) == {"22222222-b"}
        assert (await one.observe("22222222-b")).is_empty


async def test_a_command_in_a_container_has_its_input_output_and_exit_code(bench):
    container_id = await bench.run(*SLEEP, env=(("A", "1"),))
    script = "read x; echo $A $x; echo oops >&2; exit 7"
    assert await bench.exec(container_id, "sh", "-c", script, stdin=b"in\n") == (b"1 in\n", b"oops\n", 7)
    assert await bench.exec(container_id, "true") == (b"", b"", 0)
    assert await bench.exec(container_id, "cat", stdin=b"x" * 300_000) == (b"x" * 300_000, b"", 0)


async def test_a_command_on_a_terminal_sees_its_size(bench):
    container_id = await bench.run(*SLEEP)
    output, _, code = await bench.exec(
        container_id, "sh", "-c", "read x; stty size", stdin=b"go\n", tty=True, columns=101, rows=33
    )
    assert b"33 101" in output
    assert code == 0


async def test_a_command_that_does_not_exist_says_so(bench):
    container_id = await bench.run(*SLEEP)
    output, errors, code = await bench.exec(container_id, "/no/such/program")
    assert b"/no/such/program" in output + errors
    assert code in (126, 127)


async def test_no_command_runs_in_a_container_that_does_not_run(bench):
    container_id = await bench.run("true")
    await bench.ended(container_id)
    with pytest.raises(RuntimeFailureError, match="not running"):
        await bench.exec(container_id, "true")


async def test_a_container_with_a_terminal_and_open_input_stays(bench, runtime):
    container_id = await bench.run("sh", stdin=True, tty=True)
    await asyncio.sleep(0.3)
    assert (await bench.look(container_id)).state is State.RUNNING


async def test_an_image_that_is_not_there_is_refused(runtime):
    with pytest.raises(ImagePullError) as caught:
        await runtime.ensure_image("registry.invalid/no/such:1", "IfNotPresent", has_command=False)
    assert caught.value.waiting_reason == "ErrImagePull"
    assert "registry.invalid/no/such:1" in caught.value.message


async def test_many_pods_at_once_each_get_their_own(driver: Driver):
    async with driver.opened() as runtime:
        benches = [Bench(runtime, uid=f"{number:08d}-many", name=f"p{number}") for number in range(8)]
        await asyncio.gather(*(bench.run(*SLEEP) for bench in benches))
        everything = await runtime.observe_all()
        assert len(everything) == 8
        assert len({pod.sandbox.address for pod in everything.values() if pod.sandbox}) == 8
        assert all(len(pod.running) == 1 for pod in everything.values())


async def test_a_sandbox_that_is_made_twice_is_not_two(bench, runtime):
    # As after a howbelet that was cut off in the middle.
    await bench.sandbox()
    container_id = await bench.create(*SLEEP)
    bench.attempt -= 1
    try:
        assert await bench.create(*SLEEP) == container_id
    except RuntimeFailureError:
        pass
    assert len((await runtime.observe(bench.pod.uid)).containers) == 1
    try:
        await runtime.create_sandbox(SandboxConfig(bench.pod, 0, "web"))
    except RuntimeFailureError:
        pass
    assert len((await runtime.observe(bench.pod.uid)).sandboxes) == 1
