"""A whole howbelet on virtual time, between apiservers and a runtime in memory."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from h9s._pb import core_pb2
from h9s.clock import LoopClock
from h9s.kubelet.howbelet import Howbelet
from h9s.kubelet.settings import HowbeletSettings, WorkerSettings
from h9s.kubelet.timestamps import timestamp
from h9s.testing.fake_api import FakeApi
from h9s.testing.fake_runtime import FakeRuntime
from tests.unit.client.virtual import new_batching_client, until, virtual
from tests.unit.kubelet.world import make_pod

SETTINGS = HowbeletSettings(
    node_name="n1", address="192.0.2.1", port=7460, worker=WorkerSettings(host_ip="192.0.2.1")
)


class Node:
    """One node and its cluster. `start` and `stop` are the howbelet's; the runtime stays."""

    def __init__(self, tmp_path: Path) -> None:
        self.api = FakeApi()
        self.clock = LoopClock(asyncio.get_running_loop())
        self.runtime = FakeRuntime(clock=self.clock)
        self.data_dir = tmp_path
        self._stack = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        client = await self._stack.enter_async_context(new_batching_client(self.api))
        howbelet = Howbelet(client, self.runtime, clock=self.clock, data_dir=self.data_dir, settings=SETTINGS)
        self._task = asyncio.create_task(howbelet.run(await self.runtime.prepare()))

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._stack.aclose()

    async def __aenter__(self) -> Node:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def put(self, pod: core_pb2.Pod) -> None:
        pod.metadata.resource_version = ""
        self.api.objects.put(pod)
        self.api.notify()

    def remove(self, pod: core_pb2.Pod) -> None:
        self.api.objects.remove(pod)
        self.api.notify()

    def pod(self, name: str) -> core_pb2.Pod | None:
        stored = self.api.objects.objects.get(("", "Pod", "default", name))
        return core_pb2.Pod.FromString(stored.value.value) if stored else None

    def node(self) -> core_pb2.Node:
        return core_pb2.Node.FromString(self.api.objects.objects["", "Node", "", "n1"].value.value)

    def phase(self, name: str) -> str:
        pod = self.pod(name)
        return pod.status.phase if pod else ""

    def running(self) -> set[str]:
        return {run.id for run in self.runtime.running()}

    def go_away(self) -> None:
        for server in self.api.servers:
            self.api.kill(server)

    def come_back(self) -> None:
        for server in self.api.servers:
            self.api.restart(server)


@virtual
async def test_a_bound_pod_runs_and_its_status_flows_back(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod(uid="uid-1", name="web"))
        await until(lambda: node.phase("web") == "Running", seconds=2)
        elsewhere = make_pod(uid="uid-2", name="other")
        elsewhere.spec.node_name = "n2"
        node.put(elsewhere)
        await asyncio.sleep(15)
        assert node.running() == {"main-uid-1-0"}


@virtual
async def test_a_killed_container_is_back_in_moments_and_the_api_shows_it(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod())
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.runtime.exit("main-uid-1-0", 137)

        def restarted():
            pod = node.pod("web")
            return pod is not None and pod.status.container_statuses[0].restart_count == 1

        await until(restarted, seconds=1)
        assert node.running() == {"main-uid-1-1"}


@virtual
async def test_a_deleted_pod_is_stopped_before_the_api_forgets_it(tmp_path):
    async with Node(tmp_path) as node:
        pod = make_pod()
        node.put(pod)
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.runtime.stubborn = {"main"}
        pod.metadata.deletion_timestamp.CopyFrom(timestamp(node.clock.wall() + 5))
        pod.metadata.deletion_grace_period_seconds = 5
        node.put(pod)
        await asyncio.sleep(4)
        assert node.pod("web") is not None
        assert node.running()
        await until(lambda: node.pod("web") is None, seconds=3)
        assert not node.running()


@virtual
async def test_a_pod_deleted_by_force_is_stopped_too(tmp_path):
    async with Node(tmp_path) as node:
        pod = make_pod()
        node.put(pod)
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.remove(pod)
        await until(lambda: not node.running(), seconds=2)
        assert node.runtime.everything("uid-1").is_empty


@virtual
async def test_a_new_pod_of_the_same_name_is_another_pod(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod(uid="uid-1"))
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.put(make_pod(uid="uid-2"))
        await until(lambda: node.running() == {"main-uid-2-0"}, seconds=2)
        pod = node.pod("web")
        assert pod is not None
        assert pod.metadata.uid == "uid-2"


@virtual
async def test_a_restarted_howbelet_touches_nothing_that_is_as_it_should_be(tmp_path):
    async with Node(tmp_path) as node:
        for number in range(3):
            node.put(make_pod(uid=f"uid-{number}", name=f"web-{number}"))
        await until(lambda: len(node.running()) == 3, seconds=2)
        await asyncio.sleep(1)
        before = node.api.objects.revision
        await node.stop()
        node.runtime.operations.clear()
        await node.start()
        await asyncio.sleep(25)
        assert set(node.runtime.operations) == {"prepare", "observe", "observe_all"}
        assert node.api.objects.revision == before


@virtual
async def test_pods_that_went_while_the_howbelet_was_away_are_removed(tmp_path):
    async with Node(tmp_path) as node:
        pod = make_pod()
        node.put(pod)
        await until(lambda: node.phase("web") == "Running", seconds=2)
        await node.stop()
        node.remove(pod)
        await node.start()
        await until(lambda: node.runtime.everything("uid-1").is_empty, seconds=5)


@virtual
async def test_pods_run_on_and_are_mended_while_the_apiservers_are_away(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod())
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.go_away()
        await asyncio.sleep(60)
        assert node.running() == {"main-uid-1-0"}
        node.runtime.exit("main-uid-1-0", 1)
        await until(lambda: node.running() == {"main-uid-1-1"}, seconds=2)
        node.runtime.exit("main-uid-1-1", 1)
        await until(lambda: node.running() == {"main-uid-1-2"}, seconds=12)
        node.come_back()

        def reported():
            pod = node.pod("web")
            return pod is not None and pod.status.container_statuses[0].restart_count == 2

        await until(reported, seconds=10)


@virtual
async def test_a_howbelet_that_starts_without_apiservers_goes_by_what_it_knew(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod(uid="uid-1", name="kept"))
        node.put(gone := make_pod(uid="uid-2", name="gone"))
        await until(lambda: len(node.running()) == 2, seconds=2)
        await node.stop()
        node.go_away()
        # The machine restarts: nothing runs any more.
        for run in node.runtime.running():
            node.runtime.lose_container(run.id)
            node.runtime.lose_sandbox(run.sandbox_id)
        node.api.objects.remove(gone)
        await node.start()
        await until(lambda: len(node.running()) == 2, seconds=10)
        node.come_back()
        await until(lambda: node.running() == {"main-uid-1-0"}, seconds=20)


@virtual
async def test_nothing_is_removed_before_the_api_has_said_what_there_is(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod())
        await until(lambda: node.phase("web") == "Running", seconds=2)
        await node.stop()
        for file in (tmp_path / "pods").iterdir():
            file.unlink()
        node.go_away()
        await node.start()
        await asyncio.sleep(60)
        assert node.running() == {"main-uid-1-0"}


@virtual
async def test_what_was_not_heard_of_is_found_by_looking_now_and_then(tmp_path):
    async with Node(tmp_path) as node:
        node.put(make_pod())
        await until(lambda: node.phase("web") == "Running", seconds=2)
        node.runtime.is_mute = True
        node.runtime.exit("main-uid-1-0", 1)
        await until(lambda: node.running() == {"main-uid-1-1"}, seconds=11)


@virtual
async def test_the_node_registers_and_beats(tmp_path):
    async with Node(tmp_path) as node:
        await until(lambda: len(node.api.heartbeats) >= 3, seconds=4)
        found = node.node()
        assert found.metadata.labels == {
            "kubernetes.io/hostname": "n1",
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }
        assert found.status.capacity == {"cpu": "4", "memory": "8Gi", "pods": "110"}
        assert found.status.allocatable == found.status.capacity
        assert {(a.type, a.address) for a in found.status.addresses} == {
            ("InternalIP", "192.0.2.1"),
            ("Hostname", "n1"),
        }
        assert found.status.daemon_endpoints.kubelet_endpoint.port == 7460
        assert found.status.node_info.container_runtime_version == "fake://1"


@virtual
async def test_the_node_leaves_conditions_and_further_labels_to_others(tmp_path):
    async with Node(tmp_path) as node:
        await until(lambda: len(node.api.heartbeats) >= 1, seconds=4)
        found = node.node()
        found.metadata.labels["disk"] = "ssd"
        found.metadata.labels["kubernetes.io/os"] = "plan9"
        found.status.conditions.add(type="Ready", status="True")
        found.status.capacity["cpu"] = "1"
        node.api.objects.put(found)
        await until(lambda: node.node().metadata.labels["kubernetes.io/os"] == "linux", seconds=61)
        await until(lambda: node.node().status.capacity["cpu"] == "4", seconds=1)
        assert node.node().metadata.labels["disk"] == "ssd"
        assert [condition.type for condition in node.node().status.conditions] == ["Ready"]


@virtual
async def test_a_node_whose_runtime_is_away_stops_its_heartbeats(tmp_path):
    async with Node(tmp_path) as node:
        await until(lambda: len(node.api.heartbeats) >= 1, seconds=4)
        node.runtime.available = False
        await asyncio.sleep(35)
        count = len(node.api.heartbeats)
        await asyncio.sleep(10)
        assert len(node.api.heartbeats) == count
        node.runtime.available = True
        await until(lambda: len(node.api.heartbeats) > count, seconds=5)
