"""What CREATE makes of an object."""

import re

import pytest

from h9s._pb import api_pb2, cluster_pb2, core_pb2, meta_pb2
from h9s.api.objects import to_any
from h9s.apiserver.transactions import Refusal
from h9s.client.operations import create, delete, update
from h9s.errors import AlreadyExistsError, ForbiddenError, InvalidError, NotFoundError, UnavailableError
from tests.unit.apiserver.support import (
    NODE_1,
    NOW,
    World,
    copy_of,
    lease,
    meta,
    namespace,
    node,
    pod,
    replica_set,
)


def test_the_server_gives_identity_and_time():
    world = World()
    sent = pod(uid="mine", generation=7)
    sent.metadata.creation_timestamp.seconds = 1
    sent.metadata.deletion_timestamp.seconds = 2
    created = world.commit_one(create(sent))
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", created.metadata.uid
    )
    assert created.metadata.creation_timestamp.seconds == NOW
    assert created.metadata.generation == 1
    assert not created.metadata.HasField("deletion_timestamp")
    assert created.metadata.resource_version == str(world.revision)


def test_two_objects_have_different_uids():
    world = World()
    first, second = world.commit(create(pod("a")), create(pod("b")))
    assert first.metadata.uid != second.metadata.uid


def test_defaults_are_set():
    created = World().commit_one(create(pod()))
    assert created.spec.restart_policy == "Always"
    assert created.spec.containers[0].image_pull_policy == "IfNotPresent"


def test_the_status_is_the_servers():
    sent = pod()
    sent.status.phase = "Running"
    sent.status.pod_ip = "10.0.0.1"
    created = World().commit_one(create(sent))
    assert (created.status.phase, created.status.pod_ip, created.status.qos_class) == (
        "Pending",
        "",
        "BestEffort",
    )


def test_a_node_may_be_created_with_its_status_but_not_as_ready():
    sent = node()
    sent.status.capacity["cpu"] = "4"
    sent.status.conditions.add(type="Ready", status="True")
    created = World().commit_one(create(sent), caller=NODE_1)
    assert created.status.capacity["cpu"] == "4"
    assert not created.status.conditions


def test_a_kind_without_spec_has_no_generation():
    event = core_pb2.Event(metadata=meta("e", "default"), reason="X", type="Normal")
    assert World().commit_one(create(event)).metadata.generation == 0


def test_a_resource_version_is_refused():
    with pytest.raises(InvalidError, match="resourceVersion"):
        World().commit(create(pod(resource_version="3")))


def test_a_name_is_taken_once():
    world = World()
    world.commit(create(pod()))
    with pytest.raises(AlreadyExistsError, match='Pod "web" in namespace "default" already exists'):
        world.commit(create(pod()))


def test_the_same_name_is_free_in_another_namespace_and_kind():
    world = World("default", "other")
    world.commit(create(pod("web")), create(pod("web", "other")), create(replica_set("web")))
    assert world.get(pod("web", "other")) is not None


def test_every_fault_is_named_with_its_path_and_operation():
    world = World()
    broken = pod("Bad_Name")
    broken.spec.containers[0].ClearField("image")
    with pytest.raises(InvalidError) as caught:
        world.commit(create(pod("good")), create(broken))
    assert caught.value.operation == 1
    assert {"metadata.name", "spec.containers[0].image"} <= {fault.path for fault in caught.value.faults}
    assert "spec.containers[0].image" in caught.value.message
    assert world.get(pod("good")) is None


def test_a_selector_must_match_its_template():
    broken = replica_set()
    broken.spec.selector.match_labels["app"] = "other"
    with pytest.raises(InvalidError, match="selector"):
        World().commit(create(broken))


class TestNamespaces:
    def test_a_missing_one_is_an_error(self):
        with pytest.raises(NotFoundError, match='namespace "nowhere" not found'):
            World().commit(create(pod(ns="nowhere")))

    def test_those_of_the_system_are_only_not_there_yet(self):
        with pytest.raises(UnavailableError, match="about to be created"):
            World("other").commit(create(pod(ns="default")))

    def test_one_being_deleted_takes_nothing_new(self):
        world = World("default", "going")
        world.commit(delete(core_pb2.Namespace, "going"))
        with pytest.raises(ForbiddenError, match="being deleted"):
            world.commit(create(pod(ns="going")))

    def test_one_may_be_created_together_with_what_lives_in_it(self):
        world = World()
        world.commit(create(namespace("team")), create(pod(ns="team")))
        assert world.get(pod(ns="team")).metadata.resource_version == str(world.revision)

    def test_order_within_a_commit_matters(self):
        with pytest.raises(NotFoundError):
            World().commit(create(pod(ns="team")), create(namespace("team")))

    def test_a_namespaced_kind_needs_one(self):
        with pytest.raises(InvalidError, match="namespace"):
            World().commit(create(pod(ns="")))

    def test_a_cluster_scoped_kind_has_none(self):
        with pytest.raises(InvalidError, match="lives in no namespace"):
            World().commit(create(core_pb2.Node(metadata=meta("n1", "default"))))

    def test_a_new_one_is_active_and_holds_itself(self):
        created = World().commit_one(create(namespace("team")))
        assert created.status.phase == "Active"
        assert list(created.spec.finalizers) == ["kubernetes"]


class TestGeneratedNames:
    def test_five_characters_are_added(self):
        created = World().commit_one(create(pod("", generate_name="web-")))
        assert re.fullmatch(r"web-[a-z0-9]{5}", created.metadata.name)
        assert created.metadata.generate_name == "web-"

    def test_a_given_name_wins(self):
        assert World().commit_one(create(pod("web", generate_name="x-"))).metadata.name == "web"

    def test_every_operation_gets_its_own(self):
        created = World().commit(*[create(pod("", generate_name="web-")) for _ in range(50)])
        assert len({each.metadata.name for each in created}) == 50

    def test_a_name_that_is_taken_is_not_chosen(self):
        world = World()
        taken = world.commit_one(create(pod("", generate_name="web-")), seed=b"one")
        other = world.commit_one(create(pod("", generate_name="web-")), seed=b"one")
        assert taken.metadata.name != other.metadata.name

    def test_no_name_at_all_is_an_error(self):
        with pytest.raises(InvalidError, match=r"metadata\.name"):
            World().commit(create(pod("")))


def test_unknown_types_and_broken_bytes_are_refused():
    world = World()
    unknown = create(pod())
    unknown.object.type_url = "type.googleapis.com/h9s.v1.Spaceship"
    broken = create(pod())
    broken.object.value = b"\xff\xff\xff"
    for op in (unknown, broken, api_pb2.Operation(verb=api_pb2.Operation.CREATE)):
        with pytest.raises(InvalidError):
            world.commit(op)


def test_an_error_that_no_state_had_a_part_in_is_final():
    world = World()
    invalid = world.decide(create(pod("Bad_Name")))
    taken = world.decide(create(namespace("default")))
    assert isinstance(invalid, Refusal)
    assert invalid.final
    assert isinstance(taken, Refusal)
    assert not taken.final


def test_what_was_deleted_may_be_created_anew_in_one_commit():
    world = World()
    old = world.commit_one(create(lease(holder="a")))
    world.commit(delete(old), create(lease(holder="b")))
    new = world.get(lease())
    assert (new.spec.holder_identity, new.metadata.uid != old.metadata.uid) == ("b", True)


def test_what_was_created_may_be_changed_in_one_commit():
    world = World()
    world.commit(create(lease(holder="a")), update(lease(holder="b")))
    assert world.get(lease()).spec.holder_identity == "b"


def test_join_tokens_are_stored_like_anything_else():
    token = cluster_pb2.JoinToken(
        metadata=meta("abc"), spec=cluster_pb2.JoinTokenSpec(secret_sha256="0" * 64)
    )
    token.spec.expires_at.seconds = NOW
    created = World().commit_one(create(token))
    assert created == copy_of(created)
    assert to_any(created).type_url.endswith("JoinToken")


def test_owners_and_finalizers_are_the_clients():
    owner = meta_pb2.OwnerReference(
        api_version="apps/v1", kind="ReplicaSet", name="web", uid="u", controller=True
    )
    created = World().commit_one(create(pod(owner_references=[owner], finalizers=["example.com/keep"])))
    assert list(created.metadata.owner_references) == [owner]
    assert list(created.metadata.finalizers) == ["example.com/keep"]
