"""The Objects service over real gRPC and mutual TLS."""

import asyncio
from contextlib import aclosing

import grpc
import grpc.aio
import pytest

from h9s import pki
from h9s._pb import api_pb2, api_pb2_grpc, cluster_pb2, cluster_pb2_grpc, core_pb2, log_pb2
from h9s.client import BatchingClient, EventType, operations
from h9s.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    ForbiddenError,
    FutureRevisionError,
    InvalidError,
    NotFoundError,
    NotLeaderError,
    TooLargeError,
    UnavailableError,
)
from h9s.store.protocol import Leadership
from tests.integration.apiserver.serving import CA, serving
from tests.unit.apiserver.support import lease, pod, replica_set


async def test_an_object_lives():
    async with serving() as api, api.client() as client:
        created = await client.create(replica_set(replicas=1))
        created.spec.replicas = 2
        updated = await client.update(created)
        assert updated.metadata.generation == 2
        updated.status.replicas = 2
        await client.update_status(updated)
        found = await client.get(type(created), "web", "default")
        assert (found.spec.replicas, found.status.replicas) == (2, 2)
        await client.delete(type(created), "web", "default")
        with pytest.raises(NotFoundError, match='ReplicaSet "web"'):
            await client.get(type(created), "web", "default")


async def test_errors_arrive_as_what_they_are():
    async with serving() as api, api.client() as client:
        created = await client.create(pod())
        with pytest.raises(AlreadyExistsError):
            await client.create(pod())
        created.metadata.labels["a"] = "b"
        await client.update(created)
        with pytest.raises(ConflictError):
            await client.update(created)
        with pytest.raises(InvalidError) as caught:
            await client.commit([operations.create(pod("ok")), operations.create(pod("Bad_Name"))])
        assert caught.value.operation == 1
        assert caught.value.faults[0].path == "metadata.name"


async def test_lists_come_in_pages_of_one_revision():
    async with serving() as api, api.client() as client:
        for start in range(0, 1200, 600):
            await client.commit([operations.create(lease(f"l{i:04}")) for i in range(start, start + 600)])
        listing = await client.list(type(lease()), "default")
        assert [item.metadata.name for item in listing.items] == [f"l{i:04}" for i in range(1200)]
        async with api.channel() as channel:
            stub = api_pb2_grpc.ObjectsStub(channel)
            key = operations.key_of(type(lease()))
            page = await stub.List(api_pb2.ListRequest(key=key, limit=2))
            again = await stub.List(
                api_pb2.ListRequest(
                    key=key, limit=2, continue_token=page.continue_token, revision=page.revision
                )
            )
            assert (len(again.objects), again.revision) == (2, page.revision)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.List(api_pb2.ListRequest(key=key, continue_token="nonsense"))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_past_can_be_read_until_it_is_compacted():
    async with serving() as api, api.client() as client:
        created = await client.create(lease(holder="a"))
        then = int(created.metadata.resource_version)
        await client.update(lease(holder="b"))
        assert (await client.get(type(created), "lock", "default", revision=then)).spec.holder_identity == "a"
        with pytest.raises(FutureRevisionError):
            await client.get(type(created), "lock", "default", revision=999)
        await api.store.apply(log_pb2.Transaction(), compact_revision=api.store.revision)
        with pytest.raises(CompactedError):
            await client.get(type(created), "lock", "default", revision=then)


async def test_a_watch_follows_and_resumes():
    async with serving() as api, api.client() as client:
        before = api.store.revision
        async with aclosing(client.watch(core_pb2.Pod, "default", after_revision=before)) as watch:
            await client.create(pod("a"))
            await client.create(lease())
            await client.create(pod("b"))
            seen = []
            async for batch in watch:
                seen += [(event.type, event.object.metadata.name) for event in batch.events]
                if len(seen) == 2:
                    break
        assert seen == [(EventType.ADDED, "a"), (EventType.ADDED, "b")]


async def test_a_watch_from_a_revision_that_nobody_has_seen_is_refused():
    async with serving() as api, api.channel() as channel:
        request = api_pb2.WatchRequest(key=operations.key_of(core_pb2.Pod), after_revision=10**6)
        with pytest.raises(grpc.aio.AioRpcError, match="does not exist yet") as caught:
            await api_pb2_grpc.ObjectsStub(channel).Watch(request).read()
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_cancelled_watch_leaves_nothing_behind():
    async with serving() as api, api.channel() as channel:
        call = api_pb2_grpc.ObjectsStub(channel).Watch(
            api_pb2.WatchRequest(key=operations.key_of(core_pb2.Pod))
        )
        await call.read()
        assert len(api.server._hub) == 1
        call.cancel()
        async with asyncio.timeout(5):
            while len(api.server._hub):
                await asyncio.sleep(0.01)


async def test_thousands_of_commits_over_one_stream():
    async with serving() as api, api.client(cls=BatchingClient) as client:
        results = await asyncio.gather(
            *(client.commit([operations.create(lease(f"l{i}"))]) for i in range(3000)),
            client.commit([operations.create(lease("l7", holder="again"))]),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, Exception)]
        assert [type(failure) for failure in failures] == [AlreadyExistsError]
        assert len((await client.list(type(lease()))).items) == 3000


async def test_a_commit_above_the_limit_is_too_large_and_one_below_is_not():
    async with serving() as api, api.client() as client:
        fits = [operations.create(pod(f"p{i}", annotations={"a": "x" * 250_000})) for i in range(6)]
        await client.commit(fits[:5])
        for count in (40, 7):
            with pytest.raises(TooLargeError):
                await client.commit(fits * count)


async def test_a_follower_redirects_writes_and_serves_reads():
    async with serving() as api, api.channel() as channel:
        stub = api_pb2_grpc.ObjectsStub(channel)
        api.store.set_leadership(Leadership("r1", "follower", "r2", "10.0.0.2:7400", 2, ready=False))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Commit(api_pb2.CommitRequest(operations=[operations.create(pod())]))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        detail = api_pb2.ErrorDetail.FromString(dict(caught.value.trailing_metadata())["h9s-error-bin"])
        assert (detail.reason, detail.leader_address) == (NotLeaderError.reason, "10.0.0.2:7400")
        found = await stub.List(api_pb2.ListRequest(key=operations.key_of(core_pb2.Namespace)))
        assert len(found.objects) == 2


async def test_a_caller_is_who_its_certificate_says():
    async with serving() as api:
        async with api.client("n1", pki.ROLE_NODE) as node:
            with pytest.raises(ForbiddenError, match="h9s:node 'n1' may not create pod"):
                await node.create(pod())
        stranger = pki.create_ca("other")
        for config in (api.config(ca=stranger), api.config(role="h9s:system")):
            credentials = grpc.ssl_channel_credentials(CA.certificate, config.key, config.certificate)
            options = [("grpc.ssl_target_name_override", pki.APISERVER_NAME)]
            async with grpc.aio.secure_channel(api.address, credentials, options=options) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await api_pb2_grpc.ObjectsStub(channel).Get(api_pb2.GetRequest(), timeout=5)
                assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)


async def test_without_a_certificate_there_is_no_connection():
    async with serving() as api:
        credentials = grpc.ssl_channel_credentials(CA.certificate)
        options = [("grpc.ssl_target_name_override", pki.APISERVER_NAME)]
        async with grpc.aio.secure_channel(api.address, credentials, options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await api_pb2_grpc.ObjectsStub(channel).Get(api_pb2.GetRequest(), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_replica_that_is_still_getting_the_state_answers_no_read_and_begins_no_watch(monkeypatch):
    def still_getting() -> None:
        raise UnavailableError("replica r1 is still getting the cluster's state")

    async with serving() as api, api.client() as client, api.channel() as channel:
        await client.create(pod())
        stub = api_pb2_grpc.ObjectsStub(channel)
        key = api_pb2.ObjectKey(kind="Pod", namespace="default", name="web")
        pods = api_pb2.ObjectKey(kind="Pod", namespace="default")
        monkeypatch.setattr(api.store, "require_current", still_getting)
        for call in (
            stub.Get(api_pb2.GetRequest(key=key, stale_ok=True)),
            stub.List(api_pb2.ListRequest(key=pods, stale_ok=True)),
            stub.Watch(api_pb2.WatchRequest(key=pods)).read(),
            cluster_pb2_grpc.ClusterStub(channel).Backup(cluster_pb2.BackupRequest(stale_ok=True)).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="still getting") as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
