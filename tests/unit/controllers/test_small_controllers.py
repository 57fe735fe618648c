"""Namespaces, old events, pods that have ended."""

from __future__ import annotations

import pytest

from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.controllers import event_ttl, namespace, pod_gc
from h9s.controllers.decision import BATCH_SIZE, Decision
from h9s.controllers.settings import parse_seconds

Op = api_pb2.Operation
NOW = 1_700_000_000


def deleted(decision: Decision) -> list[str]:
    return [op.key.name for op in decision.operations if op.verb == Op.DELETE]


def make_namespace() -> core_pb2.Namespace:
    found = core_pb2.Namespace(
        metadata=meta_pb2.ObjectMeta(name="shop"), spec=core_pb2.NamespaceSpec(finalizers=["kubernetes"])
    )
    found.metadata.deletion_timestamp.seconds = NOW
    return found


def make_pod(name: str, *, created: int = 0, going: bool = False) -> core_pb2.Pod:
    pod = core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name=name, namespace="shop", uid=f"uid-{name}"))
    pod.metadata.creation_timestamp.seconds = created
    if going:
        pod.metadata.deletion_timestamp.seconds = NOW
    return pod


def test_the_content_of_a_namespace_is_deleted_first():
    decision = namespace.decide(make_namespace(), [make_pod("a"), make_pod("b", going=True)])
    assert deleted(decision) == ["a"]
    assert decision.again_after == 1.0


def test_a_namespace_waits_for_what_is_still_going():
    decision = namespace.decide(make_namespace(), [make_pod("b", going=True)])
    assert decision == Decision(again_after=1.0)


def test_an_empty_namespace_loses_its_finalizer():
    (operation,) = namespace.decide(make_namespace(), []).operations
    assert operation.verb == Op.UPDATE
    assert not core_pb2.Namespace.FromString(operation.object.value).spec.finalizers


def test_a_namespace_without_the_finalizer_is_left_to_others():
    found = make_namespace()
    del found.spec.finalizers[:]
    assert namespace.decide(found, []) == Decision()


def test_a_large_namespace_is_emptied_in_several_commits():
    decision = namespace.decide(make_namespace(), [make_pod(str(i)) for i in range(BATCH_SIZE + 1)])
    assert len(deleted(decision)) == BATCH_SIZE
    assert decision.again_after == 0.0


def make_event(name: str, *, age: int) -> core_pb2.Event:
    event = core_pb2.Event(metadata=meta_pb2.ObjectMeta(name=name, namespace="shop", resource_version="7"))
    event.metadata.creation_timestamp.seconds = NOW - 1_000_000
    event.last_timestamp.seconds = NOW - age
    return event


def test_events_go_when_they_last_happened_too_long_ago():
    events = [make_event("old", age=61), make_event("young", age=59)]
    decision = event_ttl.decide(events, now=NOW, ttl_seconds=60, again_after=9.0)
    assert deleted(decision) == ["old"]
    assert decision.operations[0].preconditions.mod_revision == 7
    assert decision.again_after == 9.0


def test_an_event_without_a_last_time_counts_from_its_creation():
    event = make_event("old", age=0)
    event.ClearField("last_timestamp")
    assert deleted(event_ttl.decide([event], now=NOW, ttl_seconds=60, again_after=9.0)) == ["old"]


def test_very_many_old_events_are_looked_at_again_at_once():
    events = [make_event(str(index), age=99) for index in range(501)]
    decision = event_ttl.decide(events, now=NOW, ttl_seconds=60, again_after=9.0)
    assert len(deleted(decision)) == 500
    assert decision.again_after == 0.0


def test_of_pods_that_have_ended_the_oldest_go():
    ended = [make_pod("c", created=3), make_pod("a", created=1), make_pod("b", created=2)]
    assert deleted(pod_gc.decide(ended, 1)) == ["a", "b"]
    assert deleted(pod_gc.decide(ended, 3)) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("500ms", 0.5), ("1.5m", 90), ("24h", 86400), ("7", 7)]
)
def test_durations_are_read_with_their_unit(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-1s", "5s5"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_seconds(text)
