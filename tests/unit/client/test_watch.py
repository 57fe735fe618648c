import asyncio
from contextlib import aclosing

import pytest

from h9s._pb import core_pb2
from h9s.client import EventType, RetryPolicy
from h9s.errors import CompactedError, ForbiddenError, TimeoutExpiredError
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


async def collect(client, seen, **kwargs):
    async with aclosing(client.watch(core_pb2.Pod, **kwargs)) as batches:
        async for batch in batches:
            seen.extend((batch.revision, event.type, event.object.metadata.name) for event in batch.events)


@virtual
async def test_changes_come_in_order_with_what_one_transaction_changed_together():
    api = FakeApi()
    api.objects.put(pod("old"))
    async with new_client(api) as client, aclosing(client.watch(core_pb2.Pod, after_revision=1)) as batches:
        api.objects.put(pod("a"))
        api.objects.put(pod("a", x="1"))
        api.objects.remove(pod("a"))
        api.notify()
        got = []
        async for batch in batches:
            got += [(event.type, event.object.metadata.resource_version) for event in batch.events]
            if len(got) == 3:
                break
    assert got == [(EventType.ADDED, "2"), (EventType.MODIFIED, "3"), (EventType.DELETED, "4")]


@virtual
async def test_without_a_revision_it_starts_from_now():
    api = FakeApi()
    api.objects.put(pod("old"))
    seen: list[tuple[int, EventType, str]] = []
    async with new_client(api) as client:
        watcher = asyncio.create_task(collect(client, seen))
        await asyncio.sleep(0.1)
        api.objects.put(pod("new"))
        api.notify()
        await until(lambda: bool(seen))
        watcher.cancel()
    assert seen == [(2, EventType.ADDED, "new")]


@virtual
async def test_only_what_is_selected_comes():
    api = FakeApi()
    seen: list[tuple[int, EventType, str]] = []
    async with new_client(api) as client:
        selection = {"namespace": "one", "label_selector": "app=x", "after_revision": 0}
        watcher = asyncio.create_task(collect(client, seen, **selection))
        for namespace, app, name in [
            ("one", "x", "a"),
            ("two", "x", "b"),
            ("one", "y", "c"),
            ("one", "x", "d"),
        ]:
            api.objects.put(pod(name, namespace, app=app))
        await until(lambda: len(seen) == 2)
        watcher.cancel()
    assert [name for _, _, name in seen] == ["a", "d"]


@virtual
async def test_it_goes_on_at_another_replica_without_gap_or_repeat():
    api = FakeApi()
    seen: list[tuple[int, EventType, str]] = []
    async with new_client(api) as client:
        watcher = asyncio.create_task(collect(client, seen, after_revision=0))
        for number in range(60):
            await asyncio.sleep(0.02)
            api.objects.put(pod(f"p{number}"))
            api.notify()
            if number % 7 == 3:
                victim = api.servers[number % 3]
                api.kill(victim)
                asyncio.get_running_loop().call_later(0.05, api.restart, victim)
        await until(lambda: len(seen) >= 60)
        watcher.cancel()
    assert [revision for revision, _, _ in seen] == list(range(1, 61))


@virtual
async def test_a_silent_stream_is_left_for_another_replica():
    api = FakeApi()
    seen: list[tuple[int, EventType, str]] = []
    async with new_client(api, retry=RetryPolicy(liveness=3.0)) as client:
        watcher = asyncio.create_task(collect(client, seen, after_revision=0))
        await asyncio.sleep(1.5)
        (serving,) = {server for server, _ in api.requests}
        api.hang(serving)
        api.objects.put(pod("while-silent"))
        await until(lambda: bool(seen), seconds=5.0)
        watcher.cancel()
    assert seen == [(1, EventType.ADDED, "while-silent")]
    assert {server for server, _ in api.requests} > {serving}


@virtual
async def test_bookmarks_keep_a_quiet_stream_alive_and_move_its_position():
    api = FakeApi()
    revisions = []
    async with new_client(api) as client:

        async def follow() -> None:
            async with aclosing(client.watch(core_pb2.Pod, "quiet", after_revision=0)) as batches:
                async for batch in batches:
                    assert not batch.events
                    revisions.append(batch.revision)

        watcher = asyncio.create_task(follow())
        for number in range(20):
            await asyncio.sleep(1.0)
            api.objects.put(pod(f"p{number}", "noisy"))
        await until(lambda: bool(revisions) and revisions[-1] == 20)
        api.objects.compact()
        # The position lies above the floor by now, so another replica can go on from there.
        api.break_connections([server for server, _ in api.requests][-1])
        await asyncio.sleep(3.0)
        assert not watcher.done()
        watcher.cancel()
    assert len(api.requests) == 2


@virtual
async def test_a_replica_that_is_behind_is_left_for_one_that_is_not():
    api = FakeApi()
    seen: list[tuple[int, EventType, str]] = []
    for number in range(5):
        api.objects.put(pod(f"p{number}"))
    api.lagging = {"a:1": 2, "b:1": 3}
    async with new_client(api) as client:
        watcher = asyncio.create_task(collect(client, seen, after_revision=4))
        await until(lambda: bool(seen), seconds=2.0)
        watcher.cancel()
    assert [revision for revision, _, _ in seen] == [5]


@virtual
async def test_history_that_is_gone_is_the_callers_to_deal_with():
    api = FakeApi()
    for number in range(5):
        api.objects.put(pod(f"p{number}"))
    api.objects.compact()
    async with new_client(api) as client:
        with pytest.raises(CompactedError):
            await collect(client, [], after_revision=2)


@virtual
async def test_a_refusal_ends_it():
    api = FakeApi()

    def refuse(server: str, method: str, request: object) -> None:
        raise ForbiddenError("no")

    api.intercept = refuse
    async with new_client(api) as client:
        with pytest.raises(ForbiddenError):
            await collect(client, [], after_revision=0)


@virtual
async def test_it_gives_up_when_nobody_has_served_it_for_the_deadline():
    api = FakeApi()
    async with new_client(api, retry=RetryPolicy(deadline=10.0)) as client:
        watcher = asyncio.create_task(collect(client, [], after_revision=0))
        await asyncio.sleep(20.0)
        started = asyncio.get_running_loop().time()
        for server in api.servers:
            api.kill(server)
        with pytest.raises(TimeoutExpiredError):
            await watcher
        assert 9.0 < asyncio.get_running_loop().time() - started < 13.0
