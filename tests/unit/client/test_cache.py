"""Several kinds at one revision, whatever happens to the watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.client import operations
from h9s.client.cache import Cache, Index
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


def replica_set(name: str) -> apps_pb2.ReplicaSet:
    return apps_pb2.ReplicaSet(metadata=meta_pb2.ObjectMeta(name=name, namespace="default"))


@contextlib.asynccontextmanager
async def cached(api: FakeApi) -> AsyncIterator[Cache]:
    async with new_client(api) as client:
        cache = Cache(client, (core_pb2.Pod, apps_pb2.ReplicaSet))
        running = asyncio.create_task(cache.run())
        try:
            await cache.synced.wait()
            yield cache
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def put(api: FakeApi, *objects) -> None:
    for obj in objects:
        api.objects.put(obj)
    api.notify()


@virtual
async def test_what_is_there_is_known_once_synced():
    api = FakeApi()
    put(api, pod("a"), replica_set("web"))
    async with cached(api) as cache:
        assert [p.metadata.name for p in cache.of(core_pb2.Pod).items()] == ["a"]
        assert cache.of(apps_pb2.ReplicaSet).get("default", "web") is not None
        assert cache.revision == api.objects.revision


@virtual
async def test_changes_arrive_with_what_was_there_before():
    api = FakeApi()
    seen: list[tuple[str, str]] = []

    def note(old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> None:
        seen.append((old.metadata.labels["v"] if old else "", new.metadata.labels["v"] if new else ""))

    async with cached(api) as cache:
        cache.of(core_pb2.Pod).add_handler(note)
        put(api, pod("a", v="1"))
        put(api, pod("a", v="2"))
        api.objects.remove(pod("a"))
        api.notify()
        await until(lambda: len(seen) == 3)
    assert seen == [("", "1"), ("1", "2"), ("2", "")]


@virtual
async def test_what_one_commit_changed_is_seen_at_one_moment():
    api = FakeApi()
    torn = []
    async with cached(api) as cache, new_client(api, seed=2) as writer:
        pods, sets = cache.of(core_pb2.Pod), cache.of(apps_pb2.ReplicaSet)

        async def look() -> None:
            while len(sets) < 20:
                if len(pods) != len(sets):
                    torn.append((len(pods), len(sets)))
                await asyncio.sleep(0.0001)

        looking = asyncio.create_task(look())
        for index in range(20):
            name = f"x{index}"
            await writer.commit([operations.create(pod(name)), operations.create(replica_set(name))])
        await looking
    assert torn == []


@virtual
async def test_kinds_that_were_not_asked_for_are_left_out():
    api = FakeApi()
    async with cached(api) as cache:
        put(api, core_pb2.Node(metadata=meta_pb2.ObjectMeta(name="n1")), pod("a"))
        await cache.reached(api.objects.revision)
        assert len(cache.of(core_pb2.Pod)) == 1
        assert [collection.cls for collection in cache.collections] == [core_pb2.Pod, apps_pb2.ReplicaSet]


@virtual
async def test_a_broken_connection_loses_nothing():
    api = FakeApi()
    async with cached(api) as cache:
        for index in range(10):
            put(api, pod(f"p{index}"))
            if index == 5:
                api.kill("a:1")
        await until(lambda: len(cache.of(core_pb2.Pod)) == 10)


@virtual
async def test_after_a_compaction_it_lists_again_and_tells_the_difference():
    api = FakeApi()
    put(api, pod("stays"), pod("goes"), pod("changes", v="1"))
    changes = []

    def note(old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> None:
        obj = new or old
        assert obj is not None
        changes.append((obj.metadata.name, old is not None, new is not None))

    async with cached(api) as cache:
        for server in api.servers:
            api.kill(server)
        api.objects.remove(pod("goes"))
        put(api, pod("changes", v="2"), pod("comes"))
        api.objects.compact()
        cache.of(core_pb2.Pod).add_handler(note)
        changes.clear()
        for server in api.servers:
            api.restart(server)
        await until(lambda: len(changes) == 3)
    assert sorted(changes) == [("changes", True, True), ("comes", False, True), ("goes", True, False)]


@virtual
async def test_who_waits_for_a_revision_sees_it():
    api = FakeApi()
    async with cached(api) as cache, new_client(api, seed=2) as writer:
        response = await writer.commit([operations.create(pod("a"))])
        await cache.reached(response.revision)
        assert cache.of(core_pb2.Pod).get("default", "a") is not None


@virtual
async def test_who_waits_is_not_stuck_when_the_cluster_was_restored_to_an_earlier_state():
    api = FakeApi()
    put(api, pod("a"), pod("b"))
    async with cached(api) as cache:
        waiting = asyncio.create_task(cache.reached(99))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        restored = FakeApi()
        put(restored, pod("a"))
        api.objects = restored.objects
        for server in api.servers:
            api.break_connections(server)
        await asyncio.wait_for(waiting, 60)
        assert cache.revision == 1


@virtual
async def test_an_index_follows_its_collection():
    api = FakeApi()
    put(api, pod("a", app="web"), pod("b", app="db"))
    async with cached(api) as cache:
        index = Index(cache.of(core_pb2.Pod), lambda p: [p.metadata.labels["app"]])
        assert [p.metadata.name for p in index.get("web")] == ["a"]
        put(api, pod("b", app="web"))
        api.objects.remove(pod("a"))
        api.notify()
        await cache.reached(api.objects.revision)
        assert [p.metadata.name for p in index.get("web")] == ["b"]
        assert "db" not in index
        assert index.get("db") == []


@virtual
async def test_bookmarks_move_the_revision():
    api = FakeApi()
    async with cached(api) as cache, new_client(api, seed=2) as writer:
        event = core_pb2.Event(metadata=meta_pb2.ObjectMeta(name="e", namespace="default"))
        response = await writer.commit([operations.create(event)])
        assert isinstance(response, api_pb2.CommitResponse)
        await cache.reached(response.revision)
