"""Conditions: one aspect of an object's observed state each, at most one per type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import meta_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer


def get(conditions: Iterable[meta_pb2.Condition], type: str) -> meta_pb2.Condition | None:  # noqa: A002
    """The condition of that type, if there is one."""
    for condition in conditions:
        if condition.type == type:
            return condition
    return None


def is_true(conditions: Iterable[meta_pb2.Condition], type: str) -> bool:  # noqa: A002
    """Whether there is a condition of that type with status True."""
    condition = get(conditions, type)
    return condition is not None and condition.status == "True"


def set_condition(
    conditions: RepeatedCompositeFieldContainer[meta_pb2.Condition],
    condition: meta_pb2.Condition,
    now: Timestamp,
) -> bool:
    """Put `condition` in the place of the one of its type, or add it.

    `last_transition_time` becomes `now` where the status changes and else stays; the given one is
    ignored. The other times are taken as given, but differing in nothing else is no change: then
    nothing is touched and the answer is False.
    """
    current = get(conditions, condition.type)
    if current is not None and _same(current, condition):
        return False
    transition = meta_pb2.Condition()
    transition.CopyFrom(condition)
    if current is not None and current.status == condition.status:
        transition.last_transition_time.CopyFrom(current.last_transition_time)
    else:
        transition.last_transition_time.CopyFrom(now)
    (conditions.add() if current is None else current).CopyFrom(transition)
    return True


def remove(conditions: RepeatedCompositeFieldContainer[meta_pb2.Condition], type: str) -> bool:  # noqa: A002
    """Take the condition of that type away; False if there was none."""
    current = get(conditions, type)
    if current is None:
        return False
    conditions.remove(current)
    return True


def _same(a: meta_pb2.Condition, b: meta_pb2.Condition) -> bool:
    return (
        a.status == b.status
        and a.reason == b.reason
        and a.message == b.message
        and a.observed_generation == b.observed_generation
    )
