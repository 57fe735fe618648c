import asyncio
import contextlib

from h9s._pb import core_pb2
from h9s.errors import InvalidError
from h9s.kubelet.status_manager import StatusManager
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_batching_client, until, virtual
from tests.unit.kubelet.world import make_pod


@contextlib.asynccontextmanager
async def managing(api):
    async with new_batching_client(api) as client:
        manager = StatusManager(client)
        task = asyncio.create_task(manager.run())
        try:
            yield manager
        finally:
            task.cancel()
            await asyncio.wait([task])


def stored(api, name="web"):
    found = api.objects.objects.get(("", "Pod", "default", name))
    return core_pb2.Pod.FromString(found.value.value) if found else None


def put(api, pod):
    api.objects.put(pod)
    pod.metadata.resource_version = str(api.objects.revision)
    return pod


def status(phase):
    return core_pb2.PodStatus(phase=phase)


@virtual
async def test_a_status_is_written_at_once_and_only_when_it_differs():
    api = FakeApi()
    pod = put(api, make_pod())
    async with managing(api) as manager:
        manager.report(pod, status("Running"))
        await until(lambda: stored(api).status.phase == "Running", seconds=1)
        revision = api.objects.revision
        assert manager.latest(pod) == status("Running")
        manager.report(pod, status("Running"))
        await asyncio.sleep(1)
        assert api.objects.revision == revision


@virtual
async def test_what_somebody_else_wrote_is_corrected():
    api = FakeApi()
    pod = put(api, make_pod())
    async with managing(api) as manager:
        manager.report(pod, status("Running"))
        await until(lambda: stored(api).status.phase == "Running", seconds=1)
        overwritten = make_pod()
        overwritten.status.phase = "Unknown"
        pod = put(api, overwritten)
        manager.report(pod, status("Running"))
        await until(lambda: stored(api).status.phase == "Running", seconds=1)


@virtual
async def test_while_the_apiservers_are_away_the_newest_is_kept_and_then_sent():
    api = FakeApi()
    pod = put(api, make_pod())
    async with managing(api) as manager:
        for server in api.servers:
            api.kill(server)
        for phase in ("Pending", "Running", "Failed"):
            manager.report(pod, status(phase))
            await asyncio.sleep(20)
        assert manager.latest(pod) == status("Failed")
        before = api.objects.revision
        for server in api.servers:
            api.restart(server)
        await until(lambda: stored(api).status.phase == "Failed", seconds=10)
        assert api.objects.revision - before <= 2


@virtual
async def test_another_pod_of_the_same_name_is_not_written_to():
    api = FakeApi()
    pod = put(api, make_pod(uid="uid-1"))
    put(api, make_pod(uid="uid-2"))
    async with managing(api) as manager:
        manager.report(pod, status("Running"))
        manager.finish(pod)
        await asyncio.sleep(5)
        assert stored(api).metadata.uid == "uid-2"
        assert stored(api).status.phase == ""


@virtual
async def test_a_finished_pod_is_deleted_even_after_a_failover():
    api = FakeApi()
    pod = put(api, make_pod())
    async with managing(api) as manager:
        api.lost_answers = 1
        manager.finish(pod)
        await until(lambda: stored(api) is None, seconds=5)


@virtual
async def test_a_status_that_the_api_refuses_holds_nobody_up():
    api = FakeApi()
    bad, good = put(api, make_pod(uid="uid-1", name="bad")), put(api, make_pod(uid="uid-2", name="good"))

    def refuse(server, method, request):
        if b"uid-1" in request.SerializeToString():
            raise InvalidError("status.phase: no such phase")

    api.intercept = refuse
    async with managing(api) as manager:
        manager.report(bad, status("Nonsense"))
        manager.report(good, status("Running"))
        await until(lambda: stored(api, "good").status.phase == "Running", seconds=1)
