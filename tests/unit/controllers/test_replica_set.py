"""A ReplicaSet ends up with as many pods as asked for, whatever happens on the way."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.api import pods
from h9s.api.owners import controlled_by, controller_of, new_controller_ref
from h9s.client import operations
from h9s.controllers.decision import BATCH_SIZE, Decision
from h9s.controllers.replica_set.decide import ReplicaSetSnapshot, decide
from h9s.errors import ConflictError, H9sError
from tests.unit.controllers.world import World, replica_set, set_ready

Op = api_pb2.Operation


def snapshot_of(world: World, name: str = "web", *, at: int = -1, **kwargs):
    """As a controller sees it whose cache is at that revision."""
    found = world.get(apps_pb2.ReplicaSet, name, at=at)
    assert found is not None
    return ReplicaSetSnapshot(found, tuple(world.all(core_pb2.Pod, at=at)), now=world.now, **kwargs)


def step(world: World, name: str = "web", **kwargs) -> Decision:
    decision = decide(snapshot_of(world, name, **kwargs))
    world.commit(decision.operations)
    return decision


def settle(world: World, name: str = "web", *, limit: int = 20) -> int:
    """Decide and commit until nothing is left to do; how many commits that took."""
    for count in range(limit):
        if not step(world, name).operations:
            return count
    raise AssertionError("it does not settle")


def make_world(replicas: int = 3, **spec) -> World:
    world = World()
    world.put(replica_set(replicas=replicas, **spec))
    return world


def active(world: World, name: str = "web") -> list[core_pb2.Pod]:
    owner = world.get(apps_pb2.ReplicaSet, name)
    assert owner is not None
    return [pod for pod in world.all(core_pb2.Pod) if pods.is_active(pod) and controlled_by(pod, owner)]


def scale(world: World, replicas: int) -> None:
    found = world.get(apps_pb2.ReplicaSet, "web")
    assert found is not None
    world.change(found, lambda rs: setattr(rs.spec, "replicas", replicas))


def status(world: World) -> apps_pb2.ReplicaSetStatus:
    found = world.get(apps_pb2.ReplicaSet, "web")
    assert found is not None
    return found.status


def verbs(decision: Decision) -> list[str]:
    return [Op.Verb.Name(operation.verb) for operation in decision.operations]


# What a decision is.


def test_all_missing_pods_are_created_in_one_commit_with_the_status():
    world = make_world(replicas=30)
    decision = step(world)
    assert verbs(decision) == ["UPDATE_STATUS"] + ["CREATE"] * 30
    assert len(active(world)) == 30
    assert status(world).replicas == status(world).fully_labeled_replicas == 30
    assert not decide(snapshot_of(world)).operations


def test_a_created_pod_is_the_template_and_belongs_to_the_replica_set():
    world = make_world(replicas=1)
    step(world)
    (pod,) = active(world)
    owner = world.get(apps_pb2.ReplicaSet, "web")
    assert owner is not None
    assert pod.metadata.name.startswith("web-")
    assert pod.metadata.labels == {"app": "web"}
    assert pod.spec == owner.spec.template.spec
    reference = controller_of(pod)
    assert reference is not None
    assert (reference.kind, reference.name, reference.uid) == ("ReplicaSet", "web", owner.metadata.uid)


def test_very_many_pods_are_created_in_several_commits():
    world = make_world(replicas=2 * BATCH_SIZE + 1)
    assert settle(world) == 3
    assert len(active(world)) == 2 * BATCH_SIZE + 1


def test_the_event_names_what_was_created():
    (note,) = decide(snapshot_of(make_world(replicas=2))).notes
    assert (note.reason, note.operations) == ("SuccessfulCreate", range(1, 3))


def test_a_terminating_pod_is_replaced_at_once():
    world = make_world(replicas=1)
    settle(world)
    world.run_pods(random.Random(1), eager=True)
    (pod,) = active(world)
    world.commit(
        [Op(verb=Op.DELETE, key=api_pb2.ObjectKey(kind="Pod", namespace="default", name=pod.metadata.name))]
    )
    settle(world)
    assert [other.metadata.name for other in active(world)] != [pod.metadata.name]
    assert len(world.all(core_pb2.Pod)) == 2


def test_a_failed_pod_is_replaced():
    world = make_world(replicas=1)
    settle(world)
    (pod,) = copy.deepcopy(active(world))
    pod.status.phase = "Failed"
    world.put(pod)
    settle(world)
    assert len(active(world)) == 1
    assert len(world.all(core_pb2.Pod)) == 2


def test_the_status_counts_ready_and_available_pods():
    world = make_world(replicas=3, min_ready_seconds=10)
    settle(world)
    for pod in copy.deepcopy(active(world)[:2]):
        set_ready(pod, now=world.now)
        world.put(pod)
    decision = step(world)
    assert (status(world).ready_replicas, status(world).available_replicas) == (2, 0)
    assert decision.again_after == 10
    world.now += 10
    decision = step(world)
    assert status(world).available_replicas == 2
    assert decision.again_after is None


def test_the_status_follows_the_generation():
    world = make_world()
    settle(world)
    scale(world, 4)
    settle(world)
    found = world.get(apps_pb2.ReplicaSet, "web")
    assert found is not None
    assert found.status.observed_generation == found.metadata.generation == 2


def test_nothing_is_created_in_a_namespace_that_is_being_deleted():
    world = make_world()
    decision = decide(snapshot_of(world, namespace_open=False))
    assert "CREATE" not in verbs(decision)


def test_a_replica_set_that_is_being_deleted_creates_nothing():
    world = make_world()
    found = copy.deepcopy(world.all(apps_pb2.ReplicaSet)[0])
    found.metadata.deletion_timestamp.seconds = world.now
    world.put(found)
    assert "CREATE" not in verbs(decide(snapshot_of(world)))


def test_a_matching_orphan_is_adopted_instead_of_a_new_pod():
    world = make_world(replicas=1)
    world.put(core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name="lonely", labels={"app": "web"})))
    settle(world)
    assert [pod.metadata.name for pod in active(world)] == ["lonely"]


def test_a_pod_that_no_longer_matches_is_released_and_replaced():
    world = make_world(replicas=2)
    settle(world)
    pod = active(world)[0]
    world.change(pod, lambda changed: changed.metadata.labels.update({"app": "debug"}))
    settle(world)
    released = world.get(core_pb2.Pod, pod.metadata.name)
    assert released is not None
    assert controller_of(released) is None
    assert len(active(world)) == 2


def test_a_matching_pod_of_another_owner_is_left_alone():
    world = make_world(replicas=0)
    other = replica_set("other")
    other.metadata.uid = "uid-other"
    world.put(other)
    world.put(
        core_pb2.Pod(
            metadata=meta_pb2.ObjectMeta(
                name="theirs", labels={"app": "web"}, owner_references=[new_controller_ref(other)]
            )
        )
    )
    assert settle(world) <= 1
    assert [pod.metadata.name for pod in world.all(core_pb2.Pod)] == ["theirs"]


def test_a_pod_that_was_taken_aside_meanwhile_is_not_deleted():
    world = make_world(replicas=1)
    settle(world)
    (pod,) = active(world)
    scale(world, 0)
    decision = decide(snapshot_of(world))
    world.change(pod, lambda changed: changed.metadata.labels.update({"app": "debug"}))
    with pytest.raises(ConflictError):
        world.commit(decision.operations)
    settle(world)
    assert [kept.metadata.name for kept in world.all(core_pb2.Pod)] == [pod.metadata.name]


def test_a_ledger_that_would_not_move_is_corrected_before_pods_are_created():
    world = make_world(replicas=1)
    settle(world)
    world.remove(active(world)[0])
    first, second = step(world), step(world)
    assert verbs(first) == ["UPDATE_STATUS"]
    assert verbs(second) == ["UPDATE_STATUS", "CREATE"]


def test_of_two_decisions_on_one_state_only_one_goes_through():
    world = make_world(replicas=3)
    snapshot = snapshot_of(world)
    world.commit(decide(snapshot).operations)
    with pytest.raises(ConflictError):
        world.commit(decide(snapshot).operations)
    assert len(active(world)) == 3


# Thousands of histories.

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 6)),
        st.tuples(st.just("kill"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("relabel"), st.integers(0, 9)),
        st.tuples(st.just("orphan"), st.integers(0, 1)),
        st.tuples(st.just("run"), st.integers(0, 99)),
        # A decision on a view that is so many revisions old.
        st.tuples(st.just("decide"), st.integers(0, 6)),
    ),
    max_size=30,
)


class History:
    """Plays events, and watches that the controller never does what it must not."""

    def __init__(self) -> None:
        self.world = make_world(replicas=3)
        self.foreign = {"theirs"}
        self.world.put(core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name="theirs", labels={"app": "other"})))
        self.serial = 0

    def play(self, events) -> None:
        for name, argument in events:
            getattr(self, name)(argument)

    def scale(self, replicas: int) -> None:
        scale(self.world, replicas)

    def pick(self, index: int) -> core_pb2.Pod | None:
        own = [pod for pod in self.world.all(core_pb2.Pod) if pod.metadata.name not in self.foreign]
        return own[index % len(own)] if own else None

    def kill(self, index: int) -> None:
        if pod := self.pick(index):
            self.world.remove(pod)

    def delete(self, index: int) -> None:
        if pod := self.pick(index):
            self.world.commit([operations.delete(pod)])

    def relabel(self, index: int) -> None:
        pod = self.pick(index)
        if pod is not None and not pod.metadata.HasField("deletion_timestamp"):
            self.world.change(pod, lambda changed: changed.metadata.labels.update({"app": "debug"}))
            self.foreign.add(pod.metadata.name)

    def orphan(self, match: int) -> None:
        self.serial += 1
        name = f"orphan-{self.serial}"
        labels = {"app": "web" if match else "other"}
        self.world.put(core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name=name, labels=labels)))
        if not match:
            self.foreign.add(name)

    def run(self, seed: int) -> None:
        self.world.run_pods(random.Random(seed))

    def decide(self, age: int) -> None:
        world = self.world
        decision = decide(snapshot_of(world, at=max(1, world.revision - age)))
        before = {pod.metadata.uid: pod for pod in active(world)}
        try:
            world.commit(decision.operations)
        except H9sError:
            return
        self.check(decision, before)

    def check(self, decision: Decision, before) -> None:
        world = self.world
        now = active(world)
        found = world.get(apps_pb2.ReplicaSet, "web")
        assert found is not None
        created = [pod for pod in now if pod.metadata.uid not in before]
        if any(op.verb == Op.CREATE for op in decision.operations):
            assert len(now) <= found.spec.replicas, "created more than were asked for"
            assert created
        for operation in decision.operations:
            if operation.verb == Op.DELETE:
                assert operation.key.name not in self.foreign, "deleted what it does not own"
        assert all(world.get(core_pb2.Pod, name) is not None for name in self.foreign)


@settings(max_examples=600, deadline=None)
@given(EVENTS)
def test_every_history_ends_with_as_many_pods_as_asked_for(events):
    history = History()
    history.play(events)
    settle(history.world)
    found = history.world.get(apps_pb2.ReplicaSet, "web")
    assert found is not None
    assert len(active(history.world)) == found.spec.replicas == found.status.replicas
    assert not decide(snapshot_of(history.world)).operations


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.integers(0, 2**32))
def test_a_settled_replica_set_never_deletes_what_it_has_just_created(events, seed):
    """No oscillation: once users stop, pods are either created or deleted, not both."""
    history = History()
    history.play(events)
    world, rng = history.world, random.Random(seed)
    seen = set()
    for _ in range(30):
        decision = step(world)
        seen |= {verb for verb in verbs(decision) if verb in ("CREATE", "DELETE")}
        world.run_pods(rng, eager=True)
    assert len(seen) <= 1
    assert len(active(world)) == status(world).ready_replicas == status(world).replicas
