"""Deployments on generated histories, with decisions made on old views of the cluster."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, apps_pb2
from h9s.controllers.deployment.revisions import revision_of
from h9s.controllers.deployment.rollout import pods_of
from tests.unit.controllers.deployment_world import DeploymentWorld

Op = api_pb2.Operation

SIZES = st.integers(0, 6)
LIMITS = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))
AGE = st.integers(0, 8)
ROLLOUT = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(["v1", "v2", "v3"])),
    st.tuples(st.just("run"), st.integers(0, 99)),
    # How many revisions old the view is on which its controller decides.
    st.tuples(st.just("deployment"), AGE),
    # Which ReplicaSet, and the same.
    st.tuples(st.just("replica_set"), st.tuples(st.integers(0, 9), AGE)),
)
ANYTHING = st.one_of(
    ROLLOUT,
    st.tuples(st.just("scale"), SIZES),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 9)),
    st.tuples(st.just("strategy"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1, 700])),
)


class Play:
    """Performs one event after the other."""

    def __init__(self, world: DeploymentWorld) -> None:
        self.world = world

    def play(self, events) -> None:
        for name, argument in events:
            getattr(self, name)(argument)

    def image(self, image: str) -> None:
        self.world.set_image(image)

    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)

    def pause(self, paused: bool) -> None:
        self.world.edit(paused=paused)

    def strategy(self, recreate: bool) -> None:
        if recreate:
            self.world.recreate()

    def crash(self, index: int) -> None:
        active = self.world.active()
        if active:
            self.world.crash(active[index % len(active)])

    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    def run(self, seed: int) -> None:
        self.world.run_pods(random.Random(seed))

    def back(self, age: int) -> int:
        return max(1, self.world.revision - age)

    def deployment(self, age: int) -> None:
        self.world.try_commit(self.world.deployment_decision(at=self.back(age)))

    def replica_set(self, what: tuple[int, int]) -> None:
        index, age = what
        names = [rs.metadata.name for rs in self.world.all(apps_pb2.ReplicaSet)]
        if names:
            name = names[index % len(names)]
            decision = self.world.replica_set_decision(name, at=self.back(age))
            self.world.try_commit(decision)


class WatchedPlay(Play):
    """Looks at what every commit of a controller did to the number of pods."""

    def deployment(self, age: int) -> None:
        self.watched(super().deployment, age)

    def replica_set(self, what: tuple[int, int]) -> None:
        self.watched(super().replica_set, what)

    def watched(self, act, argument) -> None:
        world = self.world
        pods_before, available_before = len(world.active()), world.available()
        asked_before = sum(map(pods_of, world.all(apps_pb2.ReplicaSet)))
        act(argument)
        if len(world.active()) > pods_before:
            assert len(world.active()) <= world.limits.maximum
        asked = sum(map(pods_of, world.all(apps_pb2.ReplicaSet)))
        if asked > asked_before:
            assert asked <= world.limits.maximum
        if world.available() < available_before:
            assert world.available() >= world.limits.min_available


@settings(max_examples=600, deadline=None)
@given(SIZES, LIMITS, LIMITS, st.lists(ROLLOUT, max_size=50))
def test_a_rollout_stays_within_surge_and_unavailability(replicas, surge, unavailable, events):
    world = DeploymentWorld(replicas, surge=surge, unavailable=unavailable)
    world.settle()
    play = WatchedPlay(world)
    play.play(events)
    for index in range(200):
        before = world.revision
        play.deployment(0)
        for number in range(len(world.all(apps_pb2.ReplicaSet))):
            play.replica_set((number, 0))
        play.run(index)
        if world.revision == before:
            break


@settings(max_examples=400, deadline=None)
@given(SIZES, LIMITS, LIMITS, st.lists(ANYTHING, max_size=40))
def test_every_history_ends_in_the_state_asked_for(replicas, surge, unavailable, events):
    world = DeploymentWorld(replicas, surge=surge, unavailable=unavailable)
    Play(world).play(events)
    world.edit(paused=False)
    for pod in world.active():
        world.crash(pod) if pod.metadata.name.endswith("3") else None
    heal(world)
    web = world.deployment
    assert [rs.metadata.name for rs in world.all(apps_pb2.ReplicaSet) if pods_of(rs)] in (
        [],
        [world.new.metadata.name],
    )
    assert world.new.spec.replicas == web.spec.replicas == len(world.active()) == world.available()
    assert world.condition("Available")[0] == world.condition("Progressing")[0] == "True"
    assert web.metadata.annotations["deployment.kubernetes.io/revision"] == str(revision_of(world.new))
    assert revision_of(world.new) == max(map(revision_of, world.all(apps_pb2.ReplicaSet)))


def heal(world: DeploymentWorld) -> None:
    """Everybody works, and what has crashed is replaced by users, until nothing is left to do."""
    world.settle()
    for pod in world.active():
        if not any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions):
            world.remove(pod)
    world.settle()


@settings(max_examples=300, deadline=None)
@given(SIZES, st.lists(ANYTHING, max_size=30))
def test_recreate_never_runs_two_templates_at_once(replicas, events):
    world = DeploymentWorld(replicas)
    world.recreate()
    play = Play(world)
    for event in events:
        if event[0] == "pause":
            continue
        before = world.images()
        play.play([event])
        if event[0] in ("deployment", "replica_set"):
            assert len(world.images()) <= max(1, len(before))


@settings(max_examples=300, deadline=None)
@given(SIZES, LIMITS, LIMITS, st.lists(ANYTHING, max_size=30))
def test_without_users_nothing_goes_up_and_down(replicas, surge, unavailable, events):
    """No oscillation: a ReplicaSet's size moves in one direction only, once pods behave."""
    world = DeploymentWorld(replicas, surge=surge, unavailable=unavailable)
    Play(world).play(events)
    heal(world)
    world.set_image("final")
    directions: dict[str, set[bool]] = {}
    for index in range(200):
        sizes = {rs.metadata.uid: rs.spec.replicas for rs in world.all(apps_pb2.ReplicaSet)}
        before = world.revision
        world.step()
        for replica_set in world.all(apps_pb2.ReplicaSet):
            was, uid = sizes.get(replica_set.metadata.uid, 0), replica_set.metadata.uid
            if replica_set.spec.replicas != was:
                directions.setdefault(uid, set()).add(replica_set.spec.replicas > was)
        world.step_replica_sets()
        world.run_pods(random.Random(index))
        if world.revision == before and index > 10:
            break
    assert all(len(found) == 1 for found in directions.values())
