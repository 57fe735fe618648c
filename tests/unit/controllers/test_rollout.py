"""How far ReplicaSets may be scaled at one moment of a rolling update, and what guards that."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import apps_pb2
from h9s.controllers.deployment import revisions
from h9s.controllers.deployment.rollout import Limits, target_of_new, targets_of_old
from h9s.errors import ConflictError
from tests.unit.controllers.deployment_world import DeploymentWorld


def sized(spec: int, available: int | None = None, *, pods: int | None = None) -> apps_pb2.ReplicaSet:
    return apps_pb2.ReplicaSet(
        spec=apps_pb2.ReplicaSetSpec(replicas=spec),
        status=apps_pb2.ReplicaSetStatus(
            replicas=spec if pods is None else pods,
            available_replicas=spec if available is None else available,
        ),
    )


def test_new_ones_take_the_room_that_the_surge_leaves():
    assert target_of_new(Limits(10, 3, 0), sized(0), [sized(10)]) == 3


def test_old_pods_that_are_not_deleted_yet_take_room_too():
    assert target_of_new(Limits(10, 3, 0), sized(3), [sized(8, pods=10)]) == 3


def test_never_more_new_ones_than_desired():
    assert target_of_new(Limits(3, 9, 0), sized(0), []) == 3
    assert target_of_new(Limits(3, 9, 0), sized(5), []) == 3


def test_the_oldest_goes_first():
    assert targets_of_old(Limits(4, 0, 1), sized(0), [sized(2), sized(2)]) == [1, 2]


def test_what_is_not_available_goes_before_the_oldest():
    assert targets_of_old(Limits(4, 0, 1), sized(0), [sized(2), sized(2, available=1)]) == [2, 1]


def test_new_ones_that_are_not_available_keep_old_ones():
    assert targets_of_old(Limits(4, 2, 0), sized(2, available=1), [sized(4)]) == [3]


def test_too_few_available_ones_keep_everything():
    assert targets_of_old(Limits(4, 1, 1), sized(2, available=0), [sized(2, available=2)]) == [2]


replica_sets = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)).map(
    lambda t: sized(t[0], min(t[0], t[1]), pods=t[2])
)


@given(
    st.integers(0, 9), st.integers(0, 5), st.integers(0, 9), replica_sets, st.lists(replica_sets, max_size=4)
)
def test_the_limits_hold_for_any_state(desired, surge, unavailable, new, old):
    limits = Limits(desired, surge, min(unavailable, desired))
    target = target_of_new(limits, new, old)
    total = sum(max(rs.spec.replicas, rs.status.replicas) for rs in (new, *old))
    if target > new.spec.replicas:
        assert total + target - new.spec.replicas <= limits.maximum
    targets = targets_of_old(limits, new, old)
    assert all(0 <= size <= rs.spec.replicas for size, rs in zip(targets, old, strict=True))
    before = new.status.available_replicas + sum(rs.status.available_replicas for rs in old)
    left = new.status.available_replicas + sum(
        min(size, rs.status.available_replicas) for size, rs in zip(targets, old, strict=True)
    )
    assert left == before or left >= limits.min_available


def test_a_decision_from_before_a_new_pod_failed_does_not_go_through():
    world = DeploymentWorld(2, surge=1, unavailable=0)
    world.settle()
    world.set_image("v2")
    world.step()
    world.step_replica_sets()
    for _ in range(2):
        for pod in world.active():
            if pod.spec.containers[0].image == "v2":
                world.advance_pod(pod, "n1")
    world.step_replica_sets()
    decision = world.deployment_decision()
    assert [note.message.split(" from")[1] for note in decision.notes] == [" 2 to 1"]
    world.crash(next(pod for pod in world.active() if pod.spec.containers[0].image == "v2"))
    world.step_replica_sets()
    with pytest.raises(ConflictError):
        world.commit(decision.operations)


def test_a_decision_from_before_the_deployment_changed_does_not_go_through():
    world = DeploymentWorld(2)
    world.settle()
    tampered = copy.deepcopy(world.new)
    del tampered.metadata.annotations[revisions.DESIRED_REPLICAS_ANNOTATION]
    world.put(tampered)
    decision = world.deployment_decision()
    world.edit(replicas=3)
    with pytest.raises(ConflictError):
        world.commit(decision.operations)
