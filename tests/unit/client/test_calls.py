import asyncio

import pytest

from h9s._pb import core_pb2
from h9s.client import BatchingClient, Client, RetryPolicy, operations
from h9s.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    FutureRevisionError,
    NotFoundError,
    OverloadedError,
    RequestExpiredError,
    TimeoutExpiredError,
    UnavailableError,
)
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual

BOTH = pytest.mark.parametrize("cls", [Client, BatchingClient])


def now() -> float:
    return asyncio.get_running_loop().time()


@BOTH
@virtual
async def test_what_was_created_is_read_back(cls):
    async with new_client(FakeApi(), cls=cls) as client:
        created = await client.create(pod("web", app="x"))
        assert created.metadata.resource_version == "1"
        assert await client.get(core_pb2.Pod, "web", "default") == created
        assert (await client.get(core_pb2.Pod, "web")).metadata.uid == created.metadata.uid


@BOTH
@virtual
async def test_a_write_goes_to_the_leader_and_stays_there(cls):
    api = FakeApi()
    for leader in api.servers:
        api.leader = leader
        async with new_client(api, cls=cls) as client:
            await client.create(pod(f"first-{leader[0]}"))
            api.requests.clear()
            await client.create(pod(f"second-{leader[0]}"))
            assert {server for server, _ in api.requests} == {leader}


@BOTH
@virtual
async def test_a_leader_that_the_configuration_does_not_name_is_followed(cls):
    api = FakeApi()
    async with new_client(api, cls=cls, servers=("b:1",)) as client:
        await client.create(pod("web"))
        assert client.servers == ("b:1", "a:1")


@BOTH
@virtual
async def test_a_failover_is_no_more_than_a_delay(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:
        await client.create(pod("before"))
        api.kill("a:1")

        async def elect() -> None:
            await asyncio.sleep(0.25)
            api.leader = "c:1"

        election = asyncio.create_task(elect())
        started = now()
        await client.create(pod("after"))
        assert 0.25 <= now() - started < 0.4
        await election


@BOTH
@virtual
async def test_a_leader_that_hangs_is_left_after_one_attempt(cls):
    api = FakeApi()
    async with new_client(api, cls=cls, retry=RetryPolicy(attempt_timeout=1.0)) as client:
        await client.create(pod("before"))
        api.hang("a:1")
        started = now()
        write = asyncio.create_task(client.create(pod("after")))
        await asyncio.sleep(0.2)
        api.leader = "b:1"
        await write
        assert now() - started < 1.6


@BOTH
@virtual
async def test_a_write_whose_answer_was_lost_is_done_once(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:
        api.lost_answers = 1
        response = await client.commit([operations.create(pod("web"))])
        assert response.replayed
        assert api.objects.revision == response.revision == 1


@BOTH
@virtual
async def test_errors_that_trying_again_does_not_mend_come_at_once(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:
        created = await client.create(pod("web"))
        with pytest.raises(AlreadyExistsError) as caught:
            await client.commit([operations.create(pod("other")), operations.create(pod("web"))])
        assert caught.value.operation == 1
        with pytest.raises(NotFoundError):
            await client.get(core_pb2.Pod, "other")
        await client.update(created)
        with pytest.raises(ConflictError):
            await client.update(created)
        with pytest.raises(ConflictError):
            await client.delete(core_pb2.Pod, "web", uid="another")
        with pytest.raises(NotFoundError):
            await client.delete(core_pb2.Pod, "missing")
        assert now() < 0.1


@BOTH
@virtual
async def test_deleting_gives_the_last_state(cls):
    async with new_client(FakeApi(), cls=cls) as client:
        created = await client.create(pod("web", app="x"))
        deleted = await client.delete(core_pb2.Pod, "web", uid=created.metadata.uid)
        assert deleted.metadata.labels == {"app": "x"}


@BOTH
@virtual
async def test_without_a_leader_the_deadline_ends_a_write(cls):
    api = FakeApi()
    api.leader = ""
    async with new_client(api, cls=cls, retry=RetryPolicy(deadline=5.0)) as client:
        with pytest.raises(TimeoutExpiredError):
            await client.create(pod("web"))
        assert 4.0 <= now() <= 5.5
        with pytest.raises(TimeoutExpiredError):
            await client.commit([operations.create(pod("web"))], timeout=1.0)
        assert now() <= 7.0


@virtual
async def test_giving_up_says_who_was_asked_and_why_it_failed():
    api = FakeApi()
    for server in api.servers:
        api.kill(server)
    async with new_client(api, retry=RetryPolicy(deadline=1.0)) as client:
        with pytest.raises(TimeoutExpiredError, match=r"a:1, b:1, c:1 .*connection refused"):
            await client.get(core_pb2.Pod, "web")


@virtual
async def test_waits_between_rounds_grow_up_to_the_maximum():
    api = FakeApi()
    api.leader = ""
    retry = RetryPolicy(initial=0.1, factor=2.0, maximum=0.8, jitter=0.0, deadline=60.0)
    async with new_client(api, retry=retry) as client:
        with pytest.raises(TimeoutExpiredError):
            await client.create(pod("web"))
    rounds = len(api.requests) / len(api.servers)
    assert 60 / 0.8 < rounds < 60 / 0.8 + 4


@BOTH
@virtual
async def test_an_overloaded_leader_is_asked_again_later(cls):
    api = FakeApi()
    refusals = 2

    def refuse(server: str, method: str, request: object) -> None:
        nonlocal refusals
        if server == api.leader and refusals:
            refusals -= 1
            raise OverloadedError("the queue is full")

    api.intercept = refuse
    async with new_client(api, cls=cls, servers=("a:1",)) as client:
        await client.create(pod("web"))
        assert {server for server, _ in api.requests} == {"a:1"}
        assert now() > 0.015


@BOTH
@virtual
async def test_a_wrong_clock_is_corrected_once(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:
        api.time_ms = int(client.clock.wall() * 1000) + 3_600_000
        await client.create(pod("web"))
        first = len(api.requests)
        await client.create(pod("other"))
        assert len(api.requests) - first == 1


@BOTH
@virtual
async def test_an_expired_id_is_the_answer_when_an_attempt_may_have_been_executed(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:
        api.lost_answers = 1

        def expire(server: str, method: str, request: object) -> None:
            if api.objects.revision:
                api.time_ms = int(client.clock.wall() * 1000) + 3_600_000

        api.intercept = expire
        with pytest.raises(RequestExpiredError):
            await client.create(pod("web"))
        assert api.objects.revision == 1


@BOTH
@virtual
async def test_a_dead_server_does_not_stand_in_the_way_of_correcting_the_clock(cls):
    api = FakeApi()
    api.kill("b:1")
    async with new_client(api, cls=cls, servers=("b:1",), retry=RetryPolicy(deadline=3.0)) as client:
        api.time_ms = int(client.clock.wall() * 1000) + 3_600_000
        write = asyncio.create_task(client.create(pod("web")))
        await asyncio.sleep(0.5)
        api.restart("b:1")
        await write


@virtual
async def test_reads_stay_on_one_replica_until_it_fails():
    api = FakeApi()
    async with new_client(api) as client:
        await client.create(pod("web"))
        api.requests.clear()
        for _ in range(5):
            await client.get(core_pb2.Pod, "web")
        (reader,) = {server for server, _ in api.requests}
        api.kill(reader)
        started = now()
        await client.get(core_pb2.Pod, "web")
        assert now() - started < 0.01
        api.restart(reader)
        api.requests.clear()
        await client.get(core_pb2.Pod, "web")
        assert reader not in {server for server, _ in api.requests}


@virtual
async def test_a_replica_that_cannot_read_now_is_passed_over():
    api = FakeApi()
    async with new_client(api) as client:
        await client.create(pod("web"))

        def refuse(server: str, method: str, request: object) -> None:
            if server != "c:1":
                raise UnavailableError("no leader to confirm the read")

        api.intercept = refuse
        assert (await client.get(core_pb2.Pod, "web")).metadata.name == "web"


@virtual
async def test_a_revision_that_one_replica_lacks_is_read_elsewhere_and_one_that_all_lack_is_an_error():
    api = FakeApi()
    async with new_client(api) as client:
        await client.create(pod("web"))
        behind = {"a:1", "b:1"}

        def refuse(server: str, method: str, request: object) -> None:
            if server in behind:
                raise FutureRevisionError("not here yet")

        api.intercept = refuse
        await client.get(core_pb2.Pod, "web", revision=1)
        behind.add("c:1")
        started = now()
        with pytest.raises(FutureRevisionError):
            await client.get(core_pb2.Pod, "web", revision=99)
        assert now() - started < 3.0


@virtual
async def test_a_refusal_is_not_retried():
    api = FakeApi()

    def refuse(server: str, method: str, request: object) -> None:
        raise ForbiddenError("no")

    api.intercept = refuse
    async with new_client(api) as client:
        with pytest.raises(ForbiddenError):
            await client.get(core_pb2.Pod, "web")
    assert len(api.requests) == 1


@virtual
async def test_a_list_is_read_page_by_page(monkeypatch):
    monkeypatch.setattr("h9s.client.client.PAGE_SIZE", 7)
    api = FakeApi()
    for number in range(20):
        api.objects.put(pod(f"p{number:02}", "default", even=str(number % 2 == 0)))
    api.objects.put(pod("elsewhere", "other"))
    async with new_client(api) as client:
        listing = await client.list(core_pb2.Pod, "default")
        assert [item.metadata.name for item in listing.items] == [f"p{number:02}" for number in range(20)]
        assert listing.revision == 21
        assert len(api.requests) == 3
        assert len((await client.list(core_pb2.Pod, label_selector="even=True")).items) == 10
        assert len((await client.list(core_pb2.Pod)).items) == 21


@virtual
async def test_heartbeats_follow_the_leader():
    api = FakeApi()
    async with new_client(api) as client:
        assert (await client.heartbeat("n1")).grace_period_ms == 5000
        api.kill("a:1")
        api.leader = "b:1"
        await client.heartbeat("n1")
    assert api.heartbeats == ["n1", "n1"]


@virtual
async def test_one_servers_status_is_asked_of_that_server_alone():
    api = FakeApi()
    async with new_client(api) as client:
        for server in client.servers:
            assert (await client.cluster_status(server)).replica_id == server
        api.kill("b:1")
        with pytest.raises(UnavailableError):
            await client.cluster_status("b:1")
        assert (await client.cluster_status()).replica_id in ("a:1", "c:1")


@BOTH
@virtual
async def test_concurrent_writes_through_many_failovers_are_each_done_once(cls):
    api = FakeApi()
    async with new_client(api, cls=cls) as client:

        async def disturb() -> None:
            for round_ in range(12):
                await asyncio.sleep(0.05)
                victim, heir = api.servers[round_ % 3], api.servers[(round_ + 1) % 3]
                api.lost_answers = 3
                api.kill(victim)
                api.leader = ""
                await asyncio.sleep(0.03)
                api.leader = heir
                api.restart(victim)

        trouble = asyncio.create_task(disturb())
        names: list[str] = []
        while not trouble.done():
            batch = [f"p{len(names) + number}" for number in range(10)]
            names += batch
            await asyncio.gather(*(client.create(pod(name)) for name in batch))
        await until(trouble.done)
    assert api.objects.revision == len(names)
    assert len(api.objects.objects) == len(names)
