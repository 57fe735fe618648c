import asyncio

import pytest

from h9s._pb import core_pb2, meta_pb2
from h9s.client import EventRecorder, RetryPolicy
from h9s.errors import InvalidError, NotFoundError, TimeoutExpiredError
from h9s.metrics import REGISTRY
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


def events(api):
    return sorted(
        (
            core_pb2.Event.FromString(stored.value.value)
            for key, stored in api.objects.objects.items()
            if key[1] == "Event"
        ),
        key=lambda event: event.message,
    )


def target(name="web", namespace="default"):
    obj = pod(name, namespace)
    obj.metadata.uid = f"uid-of-{name}"
    return obj


class Recording:
    """A recorder whose writer runs."""

    def __init__(self, client, **kwargs):
        self.recorder = EventRecorder(client, "scheduler", host="n1", **kwargs)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.recorder.run())
        return self.recorder

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])


@virtual
async def test_an_event_says_what_happened_to_whom():
    api = FakeApi()
    async with new_client(api) as client, Recording(client) as recorder:
        recorder.record(target("web", "shop"), "Warning", "FailedScheduling", "0/2 nodes")
        await until(lambda: bool(events(api)))
        (event,) = events(api)
    assert (event.type, event.reason, event.message) == ("Warning", "FailedScheduling", "0/2 nodes")
    assert event.metadata.namespace == "shop"
    assert event.metadata.name.startswith("web.")
    assert (event.involved_object.kind, event.involved_object.uid) == ("Pod", "uid-of-web")
    assert (event.source.component, event.source.host) == ("scheduler", "n1")
    assert event.count == 1
    assert event.first_timestamp == event.last_timestamp


@virtual
async def test_events_about_cluster_scoped_objects_are_in_the_default_namespace():
    api = FakeApi()
    async with new_client(api) as client, Recording(client) as recorder:
        recorder.record(core_pb2.Node(metadata=meta_pb2.ObjectMeta(name="n1")), "Normal", "Ready", "it is")
        await until(lambda: bool(events(api)))
    assert events(api)[0].metadata.namespace == "default"


@virtual
async def test_repeats_are_counted_in_one_event():
    api = FakeApi()
    async with new_client(api) as client, Recording(client) as recorder:
        for _ in range(3):
            recorder.record(target(), "Normal", "Started", "again")
        await until(lambda: bool(events(api)))
        assert events(api)[0].count == 3
        await asyncio.sleep(30.0)
        recorder.record(target(), "Normal", "Started", "again")
        recorder.record(target(), "Normal", "Started", "another message")
        await until(lambda: len(events(api)) == 2)
    again = events(api)[0]
    assert again.count == 4
    assert again.last_timestamp.seconds - again.first_timestamp.seconds == 30


@virtual
async def test_many_events_are_written_in_few_transactions():
    api = FakeApi()
    async with new_client(api) as client, Recording(client) as recorder:
        for number in range(250):
            recorder.record(target(f"p{number}"), "Normal", "Scheduled", "to n1")
        await until(lambda: len(events(api)) == 250)
    assert api.objects.revision == 3


@virtual
async def test_events_wait_while_the_apiservers_are_away():
    api = FakeApi()
    async with new_client(api, retry=RetryPolicy(deadline=5.0)) as client, Recording(client) as recorder:
        for server in api.servers:
            api.kill(server)
        recorder.record(target(), "Normal", "Started", "meanwhile")
        await asyncio.sleep(60.0)
        recorder.record(target(), "Normal", "Started", "meanwhile")
        api.restart("a:1")
        await until(lambda: bool(events(api)) and events(api)[0].count == 2)
    assert len(events(api)) == 1


@virtual
async def test_a_full_queue_drops_new_events_and_counts_them():
    api = FakeApi()
    labels = {"component": "full", "reason": "full"}
    async with new_client(api) as client:
        recorder = EventRecorder(client, "full", capacity=3)
        for number in range(5):
            recorder.record(target(f"p{number}"), "Normal", "Started", "x")
        recorder.record(target("p0"), "Normal", "Started", "x")
        await recorder.flush()
    assert [event.involved_object.name for event in events(api)] == ["p0", "p1", "p2"]
    assert REGISTRY.get_sample_value("h9s_events_dropped_total", labels) == 2


@virtual
async def test_an_event_that_is_refused_does_not_hold_up_the_others():
    api = FakeApi()

    def refuse(server, method, request):
        for number, operation in enumerate(getattr(request, "operations", ())):
            event = core_pb2.Event.FromString(operation.object.value)
            if event.metadata.namespace == "missing":
                raise NotFoundError("there is no namespace missing", operation=number)

    api.intercept = refuse
    async with new_client(api) as client, Recording(client) as recorder:
        for name, namespace in [("a", "default"), ("b", "missing"), ("c", "default"), ("d", "missing")]:
            recorder.record(target(name, namespace), "Normal", "Started", name)
        await until(lambda: len(events(api)) == 2)
        await asyncio.sleep(5.0)
    assert [event.message for event in events(api)] == ["a", "c"]


@virtual
async def test_a_repeat_of_an_event_that_was_deleted_makes_it_again():
    api = FakeApi()
    async with new_client(api) as client:
        recorder = EventRecorder(client, "test")
        recorder.record(target(), "Normal", "Started", "x")
        await recorder.flush()
        api.objects.remove(events(api)[0])
        recorder.record(target(), "Normal", "Started", "x")
        await recorder.flush()
    assert [event.count for event in events(api)] == [2]


@virtual
async def test_a_batch_that_is_refused_as_a_whole_is_dropped_and_the_writer_goes_on():
    api = FakeApi()
    refused: list[str] = []

    def refuse(server, method, request):
        if not refused:
            refused.append(method)
            raise InvalidError("not like this")

    api.intercept = refuse
    async with new_client(api) as client, Recording(client) as recorder:
        recorder.record(target(), "Normal", "Started", "first")
        await until(lambda: bool(refused))
        await asyncio.sleep(1.0)
        recorder.record(target(), "Normal", "Started", "second")
        await until(lambda: bool(events(api)))
    assert [event.message for event in events(api)] == ["second"]


@virtual
async def test_a_flush_that_fails_keeps_everything():
    api = FakeApi()
    api.leader = ""
    async with new_client(api, retry=RetryPolicy(deadline=1.0)) as client:
        recorder = EventRecorder(client, "test")
        recorder.record(target(), "Normal", "Started", "x")
        with pytest.raises(TimeoutExpiredError):
            await recorder.flush()
        api.leader = "a:1"
        await recorder.flush()
    assert [event.count for event in events(api)] == [1]
