"""What belongs to something that is gone goes too, and nothing else does."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.owners import new_controller_ref
from h9s.client import operations
from h9s.controllers.decision import BATCH_SIZE, Decision
from h9s.controllers.garbage_collector.decide import OwnerKey, OwnerSnapshot, decide, owner_key
from h9s.errors import H9sError
from tests.unit.controllers.world import World, replica_set

Op = api_pb2.Operation
CLASSES = (core_pb2.Pod, apps_pb2.ReplicaSet, apps_pb2.Deployment, core_pb2.Namespace, core_pb2.Node)


def owned_pod(name: str, *owners: ApiObject) -> core_pb2.Pod:
    references = [new_controller_ref(owner) for owner in owners]
    return core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default", owner_references=references)
    )


def objects(world: World, at: int = -1) -> list[ApiObject]:
    return [obj for cls in CLASSES for obj in world.all(cls, at=at)]


def snapshot_of(world: World, owner: OwnerKey, at: int = -1) -> OwnerSnapshot:
    """As the controller would put it together from a cache at that revision."""
    everything = objects(world, at)
    refers = {ref.uid for obj in everything for ref in obj.metadata.owner_references}
    dependents = tuple(
        obj for obj in everything if any(ref.uid == owner.uid for ref in obj.metadata.owner_references)
    )
    owners = {owner} | {
        key
        for obj in dependents
        for ref in obj.metadata.owner_references
        if (key := owner_key(ref, obj.metadata.namespace)) is not None
    }
    found = {key: world.get(key.kind.message, key.name, key.namespace, at=at) for key in owners}
    return OwnerSnapshot(owner, dependents, found, frozenset(refers))


def owner_keys(world: World) -> set[OwnerKey]:
    """Everything that is referred to or is being deleted."""
    keys = set()
    for obj in objects(world):
        metadata = obj.metadata
        for ref in metadata.owner_references:
            if (key := owner_key(ref, metadata.namespace)) is not None:
                keys.add(key)
        if metadata.HasField("deletion_timestamp"):
            keys.add(OwnerKey(kind_of(obj), metadata.namespace, metadata.name, metadata.uid))
    return keys


def collect(world: World, *, limit: int = 50) -> None:
    """Until nothing is left to do. Howbelets stop what is to be stopped."""
    for _ in range(limit):
        before = world.revision
        for key in sorted(owner_keys(world), key=str):
            world.commit(decide(snapshot_of(world, key)).operations)
        for pod in world.all(core_pb2.Pod):
            if pod.metadata.HasField("deletion_timestamp") and not pod.metadata.finalizers:
                world.remove(pod)
        if world.revision == before:
            return
    raise AssertionError("it does not settle")


def make_family() -> tuple[World, apps_pb2.ReplicaSet]:
    world = World()
    world.put(replica_set())
    owner = world.all(apps_pb2.ReplicaSet)[0]
    world.put(owned_pod("a", owner), owned_pod("b", owner), owned_pod("stranger"))
    return world, owner


def pod_names(world: World) -> list[str]:
    return [pod.metadata.name for pod in world.all(core_pb2.Pod)]


def key_of(obj: ApiObject) -> OwnerKey:
    return OwnerKey(kind_of(obj), obj.metadata.namespace, obj.metadata.name, obj.metadata.uid)


def test_dependents_of_a_living_owner_stay():
    world, owner = make_family()
    assert decide(snapshot_of(world, key_of(owner))) == Decision()


def test_dependents_follow_their_owner_in_one_commit():
    world, owner = make_family()
    world.remove(owner)
    world.commit(decide(snapshot_of(world, key_of(owner))).operations)
    assert pod_names(world) == ["stranger"]


def test_an_owner_of_the_same_name_is_another_one():
    world, owner = make_family()
    world.remove(owner)
    world.put(replica_set())
    collect(world)
    assert pod_names(world) == ["stranger"]


def test_an_owner_that_is_back_protects_its_dependents():
    world, owner = make_family()
    world.remove(owner)
    decision = decide(snapshot_of(world, key_of(owner)))
    world.put(owner)
    try:
        world.commit(decision.operations)
    except H9sError:
        pass
    assert pod_names(world) == ["a", "b", "stranger"]


def test_a_dependent_that_was_given_another_owner_meanwhile_stays():
    world, owner = make_family()
    world.remove(owner)
    decision = decide(snapshot_of(world, key_of(owner)))
    world.change(world.all(core_pb2.Pod)[0], lambda pod: pod.metadata.ClearField("owner_references"))
    try:
        world.commit(decision.operations)
    except H9sError:
        pass
    assert "a" in pod_names(world)


def test_a_dependent_with_another_owner_only_forgets_the_one_that_is_gone():
    world, owner = make_family()
    world.put(replica_set("other"))
    other = world.get(apps_pb2.ReplicaSet, "other")
    assert other is not None
    world.put(owned_pod("shared", owner, other))
    world.remove(owner)
    collect(world)
    shared = world.get(core_pb2.Pod, "shared")
    assert shared is not None
    assert [ref.uid for ref in shared.metadata.owner_references] == [other.metadata.uid]


def test_an_owner_of_a_kind_that_is_not_known_counts_as_there():
    world = World()
    pod = core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(
            name="a",
            owner_references=[
                meta_pb2.OwnerReference(api_version="batch/v1", kind="Job", name="j", uid="uid-j")
            ],
        )
    )
    world.put(pod)
    assert owner_key(pod.metadata.owner_references[0], "default") is None
    collect(world)
    assert pod_names(world) == ["a"]


def test_a_whole_tree_goes():
    world = World()
    world.put(apps_pb2.Deployment(metadata=meta_pb2.ObjectMeta(name="web")))
    deployment = world.all(apps_pb2.Deployment)[0]
    child = replica_set()
    child.metadata.owner_references.append(new_controller_ref(deployment))
    world.put(child)
    world.put(owned_pod("a", world.all(apps_pb2.ReplicaSet)[0]))
    world.commit([operations.delete(deployment)])
    collect(world)
    assert objects(world) == []


def test_orphaned_dependents_stay_and_refer_to_nobody():
    world, owner = make_family()
    world.commit([operations.delete(owner, propagation_policy="Orphan")])
    collect(world)
    assert world.all(apps_pb2.ReplicaSet) == []
    assert pod_names(world) == ["a", "b", "stranger"]
    assert not any(pod.metadata.owner_references for pod in world.all(core_pb2.Pod))


def test_in_the_foreground_the_owner_goes_last():
    world, owner = make_family()
    for pod in copy.deepcopy(world.all(core_pb2.Pod)):
        pod.spec.node_name = "n1"
        world.put(pod)
    world.commit([operations.delete(owner, propagation_policy="Foreground")])
    world.commit(decide(snapshot_of(world, key_of(owner))).operations)
    assert world.all(apps_pb2.ReplicaSet)
    assert not decide(snapshot_of(world, key_of(owner))).operations
    collect(world)
    assert world.all(apps_pb2.ReplicaSet) == []
    assert pod_names(world) == ["stranger"]


def test_in_the_foreground_grandchildren_go_before_children():
    world = World()
    world.put(apps_pb2.Deployment(metadata=meta_pb2.ObjectMeta(name="web")))
    deployment = world.all(apps_pb2.Deployment)[0]
    child = replica_set()
    child.metadata.owner_references.append(new_controller_ref(deployment))
    world.put(child)
    world.put(owned_pod("a", world.all(apps_pb2.ReplicaSet)[0]))
    world.commit([operations.delete(deployment, propagation_policy="Foreground")])
    world.commit(decide(snapshot_of(world, key_of(deployment))).operations)
    waiting = world.all(apps_pb2.ReplicaSet)[0]
    assert "foregroundDeletion" in waiting.metadata.finalizers
    collect(world)
    assert objects(world) == []


def test_very_many_dependents_go_in_several_commits():
    world = World()
    world.put(replica_set())
    owner = world.all(apps_pb2.ReplicaSet)[0]
    world.put(*(owned_pod(f"p{index}", owner) for index in range(BATCH_SIZE + 10)))
    world.remove(owner)
    first = decide(snapshot_of(world, key_of(owner)))
    assert sum(operation.verb == Op.DELETE for operation in first.operations) == BATCH_SIZE
    collect(world)
    assert pod_names(world) == []


# Generated families: objects own each other, some disappear; decisions are made on old views.

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, st.lists(NAMES, max_size=2, unique=True)),
        st.tuples(st.just("delete"), NAMES, st.sampled_from(["Background", "Orphan", "Foreground"])),
        st.tuples(st.just("collect"), st.integers(0, 9), st.integers(0, 5)),
    ),
    max_size=25,
)


class History:
    """ReplicaSets that own each other: the collector does not care what they are."""

    def __init__(self) -> None:
        self.world = World()
        self.world.put(owned_pod("bystander"))
        #: The uids that a user has deleted, and the owners that each was made with.
        self.deleted: set[str] = set()
        self.parents: dict[str, set[str]] = {}

    def play(self, events) -> None:
        for name, *arguments in events:
            getattr(self, name)(*arguments)

    def create(self, name: str, owners: list[str]) -> None:
        if self.world.get(apps_pb2.ReplicaSet, name) is not None:
            return
        living = [found for owner in owners if (found := self.world.get(apps_pb2.ReplicaSet, owner))]
        obj = replica_set(name)
        obj.metadata.owner_references.extend(new_controller_ref(owner) for owner in living)
        self.world.put(obj)
        stored = self.world.get(apps_pb2.ReplicaSet, name)
        assert stored is not None
        self.parents[stored.metadata.uid] = {owner.metadata.uid for owner in living}

    def delete(self, name: str, policy: str) -> None:
        found = self.world.get(apps_pb2.ReplicaSet, name)
        if found is not None:
            self.deleted.add(found.metadata.uid)
            self.world.commit([operations.delete(found, propagation_policy=policy)])

    def collect(self, index: int, age: int) -> None:
        keys = sorted(owner_keys(self.world), key=str)
        if keys:
            at = max(1, self.world.revision - age)
            decision = decide(snapshot_of(self.world, keys[index % len(keys)], at))
            try:
                self.world.commit(decision.operations)
            except H9sError:
                pass

    def doomed(self, uid: str) -> bool:
        """Whether it may be gone: a user deleted it, or all that own it."""
        if uid in self.deleted:
            return True
        parents = self.parents.get(uid, set())
        return bool(parents) and all(self.doomed(parent) for parent in parents)


@settings(max_examples=500, deadline=None)
@given(EVENTS)
def test_only_what_was_deleted_or_lost_its_owners_goes(events):
    history = History()
    history.play(events)
    collect(history.world)
    left = {obj.metadata.uid: obj for obj in objects(history.world)}
    for uid in history.parents:
        if uid not in left:
            assert history.doomed(uid)
        else:
            assert uid not in history.deleted
    for obj in left.values():
        assert all(ref.uid in left for ref in obj.metadata.owner_references)
    assert history.world.get(core_pb2.Pod, "bystander") is not None
