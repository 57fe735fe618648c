"""Time travel over real gRPC: old reads, what changed an object and who did it, what differs."""

import asyncio
import time

import pytest

from h9s import pki
from h9s._pb import api_pb2, core_pb2, log_pb2
from h9s.client import operations
from h9s.client.operations import key_of
from h9s.errors import CompactedError, FutureRevisionError, HistoryNotHeldError, InvalidError, NotFoundError
from tests.integration.apiserver.serving import serving
from tests.unit.apiserver.support import pod, replica_set

RS = key_of(type(replica_set()), "web", "default")


async def scale(client, *counts):
    for count in counts:
        found = await client.get(type(replica_set()), "web", "default")
        found.spec.replicas = count
        await client.update(found)


@pytest.mark.parametrize("archived", [False, True])
async def test_an_object_is_read_as_it_was(archived):
    async with serving() as api, api.client() as client:
        first = int((await client.create(replica_set(replicas=1))).metadata.resource_version)
        await scale(client, 2, 3)
        await client.delete(type(replica_set()), "web", "default")
        if archived:
            api.store.archive_all()
        for offset in range(3):
            found = await client.get(type(replica_set()), "web", "default", revision=first + offset)
            assert found.spec.replicas == offset + 1
            assert found.metadata.resource_version == str(first + offset)
            listing = await client.list(type(replica_set()), revision=first + offset)
            assert [each.spec.replicas for each in listing.items] == [offset + 1]
        with pytest.raises(NotFoundError):
            await client.get(type(replica_set()), "web", "default", revision=first + 3)
        assert (await client.list(type(replica_set()), revision=first - 1)).items == []
        with pytest.raises(FutureRevisionError):
            await client.get(type(replica_set()), "web", "default", revision=first + 100)


async def test_a_long_list_of_the_past_comes_in_pages():
    async with serving() as api, api.client() as client:
        for start in range(0, 1200, 300):
            await client.commit([operations.create(pod(f"p{n:04}")) for n in range(start, start + 300)])
        revision = api.store.revision
        await client.commit(
            [operations.delete(pod(f"p{n:04}"), grace_period_seconds=0) for n in range(0, 1000, 2)]
        )
        api.store.archive_all()
        listing = await client.list(core_pb2.Pod, "default", revision=revision)
        assert [each.metadata.name for each in listing.items] == [f"p{n:04}" for n in range(1200)]
        assert len((await client.list(core_pb2.Pod, "default")).items) == 700


@pytest.mark.parametrize("archived", [False, True])
async def test_the_history_tells_when_who_and_what(archived):
    async with serving() as api, api.client() as client, api.client("sched", pki.ROLE_COMPONENT) as scheduler:
        before = time.time()
        await client.create(replica_set(replicas=1))
        await scale(scheduler, 2)
        if archived:
            api.store.archive_all()
        await client.delete(type(replica_set()), "web", "default")
        found = await client.history.revisions(RS)
        assert [(each.author, _replicas(each.before), _replicas(each.after)) for each in found.changes] == [
            ("admin/root", 2, None),
            ("component/sched", 1, 2),
            ("admin/root", None, 1),
        ]
        assert [each.revision for each in found.changes] == sorted(
            (c.revision for c in found.changes), reverse=True
        )
        assert all(before - 1 <= each.time <= time.time() + 1 for each in found.changes)
        assert found.first_revision == 0
        limited = await client.history.revisions(RS, limit=2, up_to_revision=found.changes[1].revision)
        assert limited.changes == found.changes[1:]
        assert [
            each.author for each in (await client.history.revisions(key_of(core_pb2.Namespace))).changes
        ] == ["system/h9s-apiserver"] * 2


def _replicas(message):
    return None if message is None else message.spec.replicas


async def test_a_long_history_comes_in_pages():
    async with serving() as api, api.client() as client:
        await client.create(replica_set(replicas=1))
        for start in range(0, 450, 150):
            await scale(client, *range(start + 2, start + 152))
            api.store.archive_all()
        found = await client.history.revisions(RS)
        assert [_replicas(each.after) for each in found.changes] == list(range(451, 0, -1))
        limited = await client.history.revisions(RS, limit=333)
        assert limited.changes == found.changes[:333]


@pytest.mark.parametrize("archived", [False, True])
async def test_a_difference_is_between_two_states_not_a_list_of_writes(archived):
    async with serving() as api, api.client() as client:
        await client.create(replica_set("changed", replicas=1))
        await client.create(replica_set("back", replicas=1))
        await client.create(replica_set("gone", replicas=1))
        start = api.store.revision
        await client.create(replica_set("new", replicas=1))
        await client.create(replica_set("brief", replicas=1))
        await client.delete(type(replica_set()), "brief", "default")
        await client.delete(type(replica_set()), "gone", "default")
        gone_at = api.store.revision
        for count in (2, 3):
            found = await client.get(type(replica_set()), "changed", "default")
            found.spec.replicas = count
            await client.update(found)
        if archived:
            api.store.archive_all()
        found = [each async for each in client.history.differences(api_pb2.ObjectKey(), from_revision=start)]
        assert [(each.key.name, _replicas(each.before), _replicas(each.after)) for each in found] == [
            ("changed", 1, 3),
            ("gone", 1, None),
            ("new", None, 1),
        ]
        assert (found[1].revision, found[1].author) == (gone_at, "admin/root")
        assert found[0].revision == api.store.revision
        until = [
            each.key.name
            async for each in client.history.differences(
                key_of(type(replica_set()), "", "default"), from_revision=start, to_revision=gone_at
            )
        ]
        assert until == ["gone", "new"]
        with pytest.raises(InvalidError, match="goes forward"):
            await anext(client.history.differences(api_pb2.ObjectKey(), from_revision=start, to_revision=1))
        with pytest.raises(FutureRevisionError, match="does not exist yet"):
            await anext(
                client.history.differences(api_pb2.ObjectKey(), from_revision=start, to_revision=10**6)
            )


async def test_many_differences_come_in_pages():
    async with serving() as api, api.client() as client:
        start = api.store.revision
        for first in range(0, 2400, 300):
            await client.commit([operations.create(pod(f"p{n:04}")) for n in range(first, first + 300)])
        found = [each async for each in client.history.differences(api_pb2.ObjectKey(), from_revision=start)]
        assert [each.key.name for each in found] == [f"p{n:04}" for n in range(2400)]


async def test_a_time_is_the_last_revision_before_it():
    async with serving() as api, api.client() as client:
        await client.create(replica_set(replicas=1))
        revision = api.store.revision
        await asyncio.sleep(0.05)
        moment = time.time()
        await asyncio.sleep(0.05)
        await scale(client, 2)
        assert await client.history.revision_at(moment) == revision
        assert await client.history.revision_at(time.time() + 60) == revision + 1
        request = api_pb2.GetRequest(key=RS, at_ms=int(moment * 1000))
        async with api.channel() as channel:
            call = channel.unary_unary(
                "/h9s.v1.Objects/Get",
                request_serializer=api_pb2.GetRequest.SerializeToString,
                response_deserializer=api_pb2.GetResponse.FromString,
            )
            assert (await call(request)).revision == revision
        with pytest.raises(CompactedError, match="nothing in the cluster yet"):
            await client.history.revision_at(1000.0)


async def test_secrets_stay_hidden_in_the_past():
    async with serving() as api, api.client() as client, api.client("c", pki.ROLE_COMPONENT) as component:
        start = api.store.revision
        await client.create_join_token()
        await client.create(pod())
        for archived in (False, True):
            if archived:
                api.store.archive_all()
            everything = api_pb2.ObjectKey()
            seen = [each async for each in component.history.differences(everything, from_revision=start)]
            assert [each.key.kind for each in seen] == ["Pod"]
            revisions = (await component.history.revisions(everything)).changes
            assert {each.key.kind for each in revisions} == {"Namespace", "Pod"}
            mine = (await client.history.revisions(everything)).changes
            assert {each.key.kind for each in mine} == {"Namespace", "Pod", "JoinToken"}


async def test_what_is_forgotten_and_what_only_this_replica_lacks_are_different_errors():
    async with serving() as api, api.client() as client:
        await client.create(replica_set(replicas=1))
        await scale(client, *range(2, 12))
        last = api.store.revision
        await api.store.apply(log_pb2.Transaction(), compact_revision=last - 6)
        api.store.archive_all()
        assert api.store.archive is not None
        api.store.archive.prune(last - 3)
        with pytest.raises(CompactedError, match=f"starts at {last - 6}"):
            await client.get(type(replica_set()), "web", "default", revision=last - 7)
        with pytest.raises(HistoryNotHeldError, match=f"starts at revision {last - 3}"):
            await client.get(type(replica_set()), "web", "default", revision=last - 5)
        with pytest.raises(HistoryNotHeldError):
            await anext(client.history.differences(RS, from_revision=last - 5))
        found = await client.history.revisions(RS)
        assert [each.revision for each in found.changes] == [last, last - 1, last - 2]
        assert found.first_revision == last - 3


async def test_a_watch_goes_on_from_the_archive():
    async with serving() as api, api.client() as client:
        start = api.store.revision
        await client.create(replica_set(replicas=1))
        await scale(client, *range(2, 302))
        api.store.archive_all()
        await scale(client, *range(302, 306))
        seen: list[int] = []
        async for batch in client.watch(type(replica_set()), "default", after_revision=start, previous=True):
            seen += [event.object.spec.replicas for event in batch.events]
            for event in batch.events[1:]:
                assert event.previous.spec.replicas == event.object.spec.replicas - 1
            if len(seen) >= 305:
                break
        assert seen == list(range(1, 306))
