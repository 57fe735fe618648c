import asyncio
import itertools

import pytest

from h9s.client import BatchingClient, RetryPolicy, operations
from h9s.errors import TimeoutExpiredError, TooLargeError, UnavailableError
from h9s.metrics import REGISTRY
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_batching_client, pod, until, virtual


def create(number: int | str):
    return [operations.create(pod(f"p{number}"))]


def count_messages(api: FakeApi) -> list[int]:
    """How many commits each message had, as they are written."""
    sizes: list[int] = []
    open_stream = api.duplex

    def counting(server, method):
        stream = open_stream(server, method)
        write = stream.write

        async def counted(request):
            sizes.append(len(request.items))
            await write(request)

        stream.write = counted  # type: ignore[method-assign]
        return stream

    api.duplex = counting  # type: ignore[method-assign]
    return sizes


@virtual
async def test_what_is_submitted_in_one_turn_travels_in_one_message():
    api = FakeApi(("a:1",))
    sizes = count_messages(api)
    async with new_batching_client(api) as client:
        answers = [client.submit(create(number)) for number in range(500)]
        responses = await asyncio.gather(*answers)
    assert sizes == [500]
    assert [response.revision for response in responses] == list(range(1, 501))


@virtual
async def test_a_message_is_bounded_in_number_and_size():
    api = FakeApi(("a:1",))
    sizes = count_messages(api)
    async with new_batching_client(api) as client:
        await asyncio.gather(*(client.submit(create(number)) for number in range(1200)))
        assert sizes == [512, 512, 176]
        big = [operations.create(pod(f"big{number}", note="x" * 400_000)) for number in range(5)]
        await asyncio.gather(*(client.submit([operation]) for operation in big))
        assert sizes[3:] == [3, 2]


@virtual
async def test_a_commit_that_is_too_large_fails_alone():
    api = FakeApi()
    async with new_batching_client(api) as client:
        large = client.submit([operations.create(pod("large", note="x" * 20_000_000))])
        small = client.submit(create("small"))
        with pytest.raises(TooLargeError):
            await large
        await small


@virtual
async def test_a_commit_whose_answer_nobody_wants_disturbs_nobody():
    api = FakeApi()
    async with new_batching_client(api) as client:
        unwanted = [client.submit(create(f"u{number}")) for number in range(10)]
        wanted = client.submit(create("w"))
        for future in unwanted:
            future.cancel()
        await wanted
        api.kill("a:1")
        api.leader = "b:1"
        await client.commit(create("x"))


@virtual
async def test_an_answer_that_leaves_the_fate_open_is_followed_by_another_attempt():
    api = FakeApi(("a:1",))
    refusals = 3

    def refuse(server, method, request):
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise UnavailableError("leadership was lost in the middle")

    api.intercept = refuse
    async with new_batching_client(api) as client:
        response = await client.commit(create(1))
    assert response.revision == 1
    assert len(api.requests) == 4


@virtual
async def test_commits_end_in_time_while_others_wait():
    api = FakeApi()
    api.leader = ""
    async with new_batching_client(api) as client:
        hasty = client.submit(create(1), timeout=1.0)
        patient = client.submit(create(2), timeout=20.0)
        with pytest.raises(TimeoutExpiredError):
            await hasty
        assert asyncio.get_running_loop().time() < 1.3
        assert not patient.done()
        api.leader = "c:1"
        await patient


@virtual
async def test_an_idle_stream_that_breaks_is_replaced_when_it_is_needed():
    api = FakeApi()
    async with new_batching_client(api) as client:
        await client.commit(create(1))
        api.kill("a:1")
        await asyncio.sleep(60.0)
        api.leader = "b:1"
        started = asyncio.get_running_loop().time()
        await client.commit(create(2))
        assert asyncio.get_running_loop().time() - started < 0.1


@virtual
async def test_an_idle_stream_is_not_taken_for_a_silent_one():
    api = FakeApi(("a:1",))
    opened = []
    open_stream = api.duplex
    api.duplex = lambda server, method: opened.append(server) or open_stream(server, method)  # type: ignore
    async with new_batching_client(api) as client:
        for number in range(20):
            await client.commit(create(number))
            await asyncio.sleep(7.0 + number * 0.0137)
    assert opened == ["a:1"]


@virtual
async def test_closing_ends_what_has_no_answer():
    api = FakeApi()
    api.hang("a:1")
    async with new_batching_client(api, servers=("a:1",)) as client:
        waiting = client.submit(create(1))
        await asyncio.sleep(0.1)
    with pytest.raises(UnavailableError, match="closed"):
        await waiting
    with pytest.raises(UnavailableError, match="not running"):
        client.submit(create(2))


@virtual
async def test_it_works_only_while_it_runs():
    client = new_batching_client(FakeApi())
    with pytest.raises(UnavailableError, match="not running"):
        await client.commit(create(1))


@virtual
async def test_the_death_of_the_stream_is_told_to_the_loop():
    api = FakeApi()
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    def broken(server, method):
        raise ZeroDivisionError

    api.duplex = broken  # type: ignore[method-assign]
    async with new_batching_client(api) as client:
        lost = client.submit(create(1))
        await until(lambda: bool(told))
        with pytest.raises(UnavailableError):
            await lost
    (context,) = told
    assert context["message"] == "the commit stream died"


@virtual
async def test_retries_reconnects_and_times_are_counted():
    api = FakeApi()
    labels = {"client": "counted", "method": "CommitStream"}
    async with new_batching_client(api, name="counted") as client:
        await client.commit(create(1))
        api.kill("a:1")
        api.leader = "b:1"
        await client.commit(create(2))
    assert isinstance(client, BatchingClient)
    assert REGISTRY.get_sample_value("h9s_client_reconnects_total", labels)
    assert REGISTRY.get_sample_value("h9s_client_request_seconds_count", {**labels, "outcome": "OK"}) == 2


@virtual
async def test_a_slow_leader_is_given_more_time_with_every_stream():
    api = FakeApi(("a:1",))
    opened: list[float] = []
    open_stream = api.duplex
    now = asyncio.get_running_loop().time

    def counting(server, method):
        opened.append(now())
        return open_stream(server, method)

    api.duplex = counting  # type: ignore[method-assign]
    api.hang("a:1")
    retry = RetryPolicy(attempt_timeout=0.5, attempt_timeout_maximum=4.0)
    async with new_batching_client(api, retry=retry) as client:
        waiting = client.submit(create(1))
        await asyncio.sleep(20.0)
        api.restart("a:1")
        await waiting
    pauses = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert pauses[0] < 1.0
    assert pauses[-1] >= 4.0
