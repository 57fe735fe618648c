"""Conditions change when what they say changes, and remember since when."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import core_pb2
from h9s._pb.meta_pb2 import Condition
from h9s.api import conditions

THEN, NOW = Timestamp(seconds=100), Timestamp(seconds=200)


def status_with(*given: Condition) -> core_pb2.PodStatus:
    return core_pb2.PodStatus(conditions=given)


def ready(status: str, **fields) -> Condition:
    return Condition(type="Ready", status=status, **fields)


def test_a_condition_is_found_by_its_type():
    status = status_with(ready("True"), Condition(type="Other", status="False"))
    found = conditions.get(status.conditions, "Other")
    assert found is not None
    assert found.status == "False"
    assert conditions.get(status.conditions, "Absent") is None
    assert conditions.is_true(status.conditions, "Ready")
    assert not conditions.is_true(status.conditions, "Other")
    assert not conditions.is_true(status.conditions, "Absent")


def test_a_new_condition_is_added_as_of_now():
    status = status_with(Condition(type="Other", status="False"))
    assert conditions.set_condition(status.conditions, ready("True", last_transition_time=THEN), NOW)
    assert [condition.type for condition in status.conditions] == ["Other", "Ready"]
    assert status.conditions[1].last_transition_time == NOW


def test_a_change_of_status_moves_the_time_of_transition():
    status = status_with(ready("False", last_transition_time=THEN), Condition(type="Other", status="False"))
    assert conditions.set_condition(status.conditions, ready("True"), NOW)
    assert [condition.type for condition in status.conditions] == ["Ready", "Other"]
    assert status.conditions[0].last_transition_time == NOW


@pytest.mark.parametrize("fields", [{"reason": "B"}, {"message": "b"}, {"observed_generation": 2}])
def test_another_reason_is_a_change_but_no_transition(fields):
    status = status_with(ready("False", reason="A", message="a", last_transition_time=THEN))
    changed = ready("False", **{"reason": "A", "message": "a", **fields})
    assert conditions.set_condition(status.conditions, changed, NOW)
    changed.last_transition_time.CopyFrom(THEN)
    assert status.conditions[0] == changed


def test_the_same_again_changes_nothing_not_even_times():
    status = status_with(ready("True", reason="A", last_transition_time=THEN, last_update_time=THEN))
    before = status_with(*status.conditions)
    assert not conditions.set_condition(
        status.conditions, ready("True", reason="A", last_update_time=NOW), NOW
    )
    assert status == before


def test_the_given_condition_is_left_alone():
    given = ready("True")
    conditions.set_condition(status_with().conditions, given, NOW)
    assert given == ready("True")


def test_a_condition_can_be_removed():
    status = status_with(ready("True"), Condition(type="Other", status="False"))
    assert conditions.remove(status.conditions, "Ready")
    assert [condition.type for condition in status.conditions] == ["Other"]
    assert not conditions.remove(status.conditions, "Ready")
