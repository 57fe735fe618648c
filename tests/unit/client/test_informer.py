import asyncio

import pytest

from h9s._pb import core_pb2
from h9s.client import Informer, RetryPolicy
from h9s.errors import ForbiddenError
from h9s.metrics import REGISTRY
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


def names(change):
    return tuple(obj and (obj.metadata.name, dict(obj.metadata.labels)) for obj in change)


class Following:
    """An informer that runs, and what its handler was told."""

    def __init__(self, client, **kwargs):
        self.informer = Informer(client, core_pb2.Pod, **kwargs)
        self.changes: list[object] = []
        self.informer.add_handler(lambda old, new: self.changes.append(names((old, new))))

    async def __aenter__(self):
        self.task = asyncio.create_task(self.informer.run())
        await self.informer.synced.wait()
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])


def agrees(informer, api):
    return {name for _, name in informer.snapshot()} == {key[3] for key in api.objects.objects}


@virtual
async def test_it_holds_what_is_there_and_then_every_change():
    api = FakeApi()
    api.objects.put(pod("a"))
    api.objects.put(pod("b", "other"))
    async with new_client(api) as client, Following(client) as following:
        informer = following.informer
        assert informer.revision == 2
        assert len(informer) == 2
        a = informer.get("default", "a")
        assert a is not None
        assert a.metadata.resource_version == "1"
        assert informer.get("default", "b") is None
        following.changes.clear()
        api.objects.put(pod("a", app="x"))
        api.objects.put(pod("c"))
        api.objects.remove(pod("b", "other"))
        api.notify()
        await until(lambda: informer.revision == 5)
        assert following.changes == [
            (("a", {}), ("a", {"app": "x"})),
            (None, ("c", {})),
            (("b", {}), None),
        ]
        assert agrees(informer, api)


@virtual
async def test_a_snapshot_does_not_change_any_more():
    api = FakeApi()
    api.objects.put(pod("a"))
    async with new_client(api) as client, Following(client) as following:
        before = following.informer.snapshot()
        api.objects.put(pod("b"))
        api.notify()
        await until(lambda: len(following.informer) == 2)
        assert list(before) == [("default", "a")]
        assert sorted(item.metadata.name for item in following.informer.items()) == ["a", "b"]


@virtual
async def test_a_late_handler_is_told_what_is_there():
    api = FakeApi()
    api.objects.put(pod("a"))
    async with new_client(api) as client, Following(client) as following:
        late = []
        following.informer.add_handler(lambda old, new: late.append(names((old, new))))
        assert late == [(None, ("a", {}))]


@virtual
async def test_after_a_compaction_it_lists_again_and_tells_the_differences():
    api = FakeApi()
    for name in ("gone", "kept", "changed"):
        api.objects.put(pod(name))
    async with new_client(api) as client, Following(client) as following:
        following.changes.clear()
        for server in api.servers:
            api.kill(server)
        api.objects.remove(pod("gone"))
        api.objects.put(pod("changed", app="x"))
        api.objects.put(pod("added"))
        api.objects.compact()
        await asyncio.sleep(1.0)
        for server in api.servers:
            api.restart(server)
        await until(lambda: following.informer.revision == 6)
        assert sorted(following.changes, key=str) == sorted(
            [(("gone", {}), None), (("changed", {}), ("changed", {"app": "x"})), (None, ("added", {}))],
            key=str,
        )
        assert agrees(following.informer, api)


@virtual
async def test_it_outlives_any_time_without_apiservers():
    api = FakeApi()
    retry = RetryPolicy(deadline=5.0)
    async with new_client(api, retry=retry) as client, Following(client) as following:
        for server in api.servers:
            api.kill(server)
        await asyncio.sleep(600.0)
        assert not following.task.done()
        api.objects.put(pod("a"))
        api.restart("c:1")
        await until(lambda: len(following.informer) == 1, seconds=5.0)


@virtual
async def test_it_starts_before_the_apiservers():
    api = FakeApi()
    for server in api.servers:
        api.kill(server)
    async with new_client(api, retry=RetryPolicy(deadline=2.0)) as client:
        asyncio.get_running_loop().call_later(30.0, api.restart, "a:1")
        async with Following(client):
            assert asyncio.get_running_loop().time() < 33.0


@virtual
async def test_it_sees_every_change_through_many_failovers():
    api = FakeApi()
    async with new_client(api) as client, Following(client) as following:
        for number in range(100):
            await asyncio.sleep(0.01)
            api.objects.put(pod(f"p{number % 17}", n=str(number)))
            if number % 5 == 4:
                api.objects.remove(pod(f"p{number % 17}"))
            api.notify()
            victim = api.servers[number % 3]
            (api.kill if number % 2 else api.restart)(victim)
        for server in api.servers:
            api.restart(server)
        await until(lambda: following.informer.revision == api.objects.revision)
        assert len(following.changes) == api.objects.revision
        assert agrees(following.informer, api)


@virtual
async def test_only_what_is_selected_is_held():
    api = FakeApi()
    api.objects.put(pod("a", app="x"))
    api.objects.put(pod("b", app="y"))
    api.objects.put(pod("c", "other", app="x"))
    selection = {"namespace": "default", "label_selector": "app=x"}
    async with new_client(api) as client, Following(client, **selection) as following:
        assert list(following.informer.snapshot()) == [("default", "a")]


@virtual
async def test_a_resync_tells_everything_again():
    api = FakeApi()
    api.objects.put(pod("a"))
    async with new_client(api) as client, Following(client, resync_seconds=10.0) as following:
        following.changes.clear()
        await asyncio.sleep(35.0)
        assert following.changes == [(("a", {}), ("a", {}))] * 3


@virtual
async def test_a_handler_that_fails_ends_it():
    api = FakeApi()
    api.objects.put(pod("a"))

    def fail(old: object, new: object) -> None:
        raise ZeroDivisionError

    async with new_client(api) as client:
        informer = Informer(client, core_pb2.Pod)
        informer.add_handler(fail)
        with pytest.raises(ZeroDivisionError):
            await informer.run()


@virtual
async def test_a_refusal_ends_it():
    api = FakeApi()

    def refuse(server: str, method: str, request: object) -> None:
        raise ForbiddenError("no")

    api.intercept = refuse
    async with new_client(api) as client:
        with pytest.raises(ForbiddenError):
            await Informer(client, core_pb2.Pod).run()


@virtual
async def test_its_metrics_say_how_current_it_is():
    api = FakeApi()
    api.objects.put(pod("a"))
    labels = {"client": "metered", "kind": "Pod"}
    async with new_client(api, name="metered") as client, Following(client):
        assert REGISTRY.get_sample_value("h9s_informer_objects", labels) == 1
        assert REGISTRY.get_sample_value("h9s_informer_revision", labels) == 1
        assert REGISTRY.get_sample_value("h9s_informer_relists_total", labels) == 1
