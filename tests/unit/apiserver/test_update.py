"""What UPDATE and UPDATE_STATUS may change, and what they may not."""

import pytest

from h9s._pb import api_pb2, core_pb2
from h9s.client.operations import create, delete, update, update_status
from h9s.errors import ConflictError, InvalidError, NotFoundError
from tests.unit.apiserver.support import (
    ADMIN,
    NODE_1,
    SCHEDULER,
    World,
    copy_of,
    lease,
    meta,
    node,
    pod,
    replica_set,
)


@pytest.fixture
def world():
    return World()


class TestParts:
    def test_an_update_ignores_the_status(self, world):
        world.commit(create(pod()))
        changed = pod(labels={"a": "b"})
        changed.status.phase = "Failed"
        updated = world.commit_one(update(changed))
        assert (updated.metadata.labels["a"], updated.status.phase) == ("b", "Pending")

    def test_a_status_update_ignores_all_but_the_status(self, world):
        world.commit(create(replica_set(replicas=3)))
        changed = replica_set(replicas=9)
        changed.metadata.labels["a"] = "b"
        changed.status.ready_replicas = 2
        updated = world.commit_one(update_status(changed))
        assert (updated.spec.replicas, dict(updated.metadata.labels)) == (3, {})
        assert updated.status.ready_replicas == 2

    def test_a_kind_without_status_takes_everything(self, world):
        world.commit(create(lease(holder="a")))
        assert world.commit_one(update(lease(holder="b"))).spec.holder_identity == "b"
        with pytest.raises(InvalidError, match="Lease has no status"):
            world.commit(update_status(lease(holder="c")))

    def test_a_bad_status_is_refused(self, world):
        created = world.commit_one(create(pod()))
        created.status.phase = "Happy"
        with pytest.raises(InvalidError, match=r"status\.phase"):
            world.commit(update_status(created))


class TestGeneration:
    def test_it_rises_with_the_spec(self, world):
        world.commit(create(replica_set(replicas=1)))
        assert world.commit_one(update(replica_set(replicas=2))).metadata.generation == 2
        assert world.commit_one(update(replica_set(replicas=3))).metadata.generation == 3

    def test_it_stays_with_metadata_and_status(self, world):
        created = world.commit_one(create(replica_set()))
        created.metadata.labels["x"] = "y"
        assert world.commit_one(update(created)).metadata.generation == 1
        created = world.get(created)
        created.status.replicas = 4
        assert world.commit_one(update_status(created)).metadata.generation == 1

    def test_what_the_client_says_about_it_is_ignored(self, world):
        world.commit(create(replica_set()))
        changed = replica_set()
        changed.metadata.generation = 99
        changed.metadata.labels["x"] = "y"
        assert world.commit_one(update(changed)).metadata.generation == 1


class TestNoChange:
    def test_an_update_without_effect_makes_no_revision(self, world):
        created = world.commit_one(create(pod()))
        before = world.revision
        again = world.commit_one(update(created))
        status = world.commit_one(update_status(created))
        assert world.revision == before
        assert again == status == created

    def test_what_defaults_fill_in_is_no_change(self, world):
        created = world.commit_one(create(pod()))
        assert world.commit_one(update(pod())).metadata.resource_version == created.metadata.resource_version

    def test_but_beside_a_change_the_others_get_the_new_revision(self, world):
        created = world.commit_one(create(pod()))
        same, new = world.commit(update(created), create(pod("other")))
        assert same.metadata.resource_version == created.metadata.resource_version
        assert new.metadata.resource_version == str(world.revision)


class TestPreconditions:
    def test_the_current_resource_version_is_taken(self, world):
        created = world.commit_one(create(lease()))
        created.spec.holder_identity = "me"
        assert world.commit_one(update(created)).spec.holder_identity == "me"

    @pytest.mark.parametrize("op", [update, update_status])
    def test_a_stale_one_is_a_conflict(self, world, op):
        stale = world.commit_one(create(replica_set()))
        world.commit(update(replica_set(replicas=5)))
        stale.spec.replicas, stale.status.replicas = 7, 7
        with pytest.raises(ConflictError, match="read it again"):
            world.commit(op(stale))
        assert world.get(stale).spec.replicas == 5

    def test_a_future_one_too(self, world):
        world.commit(create(lease()))
        with pytest.raises(ConflictError):
            world.commit(update(copy_of(lease(holder="x"), resource_version="999")))

    def test_one_that_is_no_number_is_refused(self, world):
        world.commit(create(lease()))
        with pytest.raises(InvalidError, match="'abc' is not a revision"):
            world.commit(update(copy_of(lease(), resource_version="abc")))

    def test_without_one_the_last_writer_wins(self, world):
        world.commit(create(lease(holder="a")))
        world.commit(update(lease(holder="b")))
        assert world.commit_one(update(lease(holder="c"))).spec.holder_identity == "c"

    def test_preconditions_of_the_operation_count_too(self, world):
        created = world.commit_one(create(lease()))
        revision = int(created.metadata.resource_version)
        world.commit(update(lease(holder="b"), mod_revision=revision, uid=created.metadata.uid))
        with pytest.raises(ConflictError):
            world.commit(update(lease(holder="c"), mod_revision=revision))
        with pytest.raises(ConflictError, match="another one than meant"):
            world.commit(update(lease(holder="c"), uid="other"))

    def test_a_uid_in_the_object_means_that_very_object(self, world):
        old = world.commit_one(create(lease()))
        world.commit(delete(old))
        world.commit(create(lease()))
        with pytest.raises(ConflictError, match="uid"):
            world.commit(update(copy_of(lease(holder="x"), uid=old.metadata.uid)))


def test_what_does_not_exist_cannot_be_updated(world):
    for op in (update, update_status):
        with pytest.raises(NotFoundError, match='Pod "web" in namespace "default" not found'):
            world.commit(op(pod()))
    with pytest.raises(NotFoundError):
        world.commit(update(copy_of(pod(), resource_version="1")))


def test_a_name_is_needed(world):
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        world.commit(update(pod("", generate_name="x-")))


def test_identity_stays(world):
    created = world.commit_one(create(pod()))
    world.now += 60
    changed = pod(labels={"a": "b"}, generate_name="other-")
    changed.metadata.creation_timestamp.seconds = 5
    updated = world.commit_one(update(changed))
    assert updated.metadata.uid == created.metadata.uid
    assert updated.metadata.creation_timestamp == created.metadata.creation_timestamp
    assert updated.metadata.generate_name == ""


def test_immutable_fields_are_refused(world):
    world.commit(create(pod()), create(replica_set()))
    changed = pod()
    changed.spec.restart_policy = "Never"
    with pytest.raises(InvalidError, match=r"spec\.restartPolicy"):
        world.commit(update(changed))
    other = replica_set()
    other.spec.selector.match_labels["app"] = other.spec.template.metadata.labels["app"] = "new"
    with pytest.raises(InvalidError, match=r"spec\.selector"):
        world.commit(update(other))


def test_a_pod_is_bound_once(world):
    created = world.commit_one(create(pod()))
    created.spec.node_name = "n1"
    bound = world.commit_one(update(created), caller=SCHEDULER)
    assert (bound.spec.node_name, bound.metadata.generation) == ("n1", 2)
    bound.spec.node_name = "n2"
    with pytest.raises(InvalidError, match="bound to 'n1'"):
        world.commit(update(bound), caller=SCHEDULER)


class TestFinalizers:
    def test_an_object_goes_with_its_last_finalizer(self, world):
        world.commit(create(lease_with("a.com/x", "a.com/y")))
        (announced,) = world.commit(delete(lease()))
        assert announced.metadata.deletion_timestamp.seconds == world.now
        world.commit(update(lease_with("a.com/y")))
        assert world.get(lease()) is not None
        (last,) = world.commit(update(lease_with()))
        assert world.get(lease()) is None
        assert list(last.metadata.finalizers) == ["a.com/y"]

    def test_removing_one_from_a_living_object_deletes_nothing(self, world):
        world.commit(create(lease_with("a.com/x")))
        world.commit(update(lease_with()))
        assert world.get(lease()) is not None

    def test_none_can_be_added_while_it_is_deleted(self, world):
        world.commit(create(lease_with("a.com/x")))
        world.commit(delete(lease()))
        with pytest.raises(InvalidError, match=r"a\.com/y"):
            world.commit(update(lease_with("a.com/x", "a.com/y")))

    def test_an_update_does_not_undo_a_deletion(self, world):
        world.commit(create(lease_with("a.com/x")))
        world.commit(delete(lease()))
        updated = world.commit_one(update(lease_with("a.com/x")))
        assert updated.metadata.HasField("deletion_timestamp")

    def test_a_namespace_goes_when_its_content_is_gone(self, world):
        created = world.commit_one(create(core_pb2.Namespace(metadata=meta("team"))))
        (terminating,) = world.commit(delete(created))
        assert terminating.status.phase == "Terminating"
        del terminating.spec.finalizers[:]
        world.commit(update(terminating))
        assert world.get(created) is None


def lease_with(*finalizers):
    message = lease()
    message.metadata.finalizers.extend(finalizers)
    return message


class TestLivenessOfNodes:
    """Whether a node is ready is the leader's to say, by its heartbeats."""

    def test_a_howbelet_reports_all_but_readiness(self, world):
        world.commit(create(node()))
        ready = node()
        ready.status.conditions.add(type="Ready", status="Unknown", reason="NodeStatusUnknown")
        world.commit(update_status(ready), caller=ADMIN)
        report = node()
        report.status.conditions.add(type="Ready", status="True")
        report.status.conditions.add(type="MemoryPressure", status="False")
        report.status.capacity["cpu"] = "2"
        stored = world.commit_one(update_status(report), caller=NODE_1)
        assert {c.type: c.status for c in stored.status.conditions} == {
            "Ready": "Unknown",
            "MemoryPressure": "False",
        }
        assert stored.status.allocatable["cpu"] == "2"

    def test_the_same_report_again_makes_no_revision(self, world):
        world.commit(create(node()))
        ready = node()
        ready.status.conditions.add(type="Ready", status="True")
        world.commit(update_status(ready), caller=ADMIN)
        report = node()
        report.status.conditions.add(type="MemoryPressure", status="False")
        world.commit(update_status(report), caller=NODE_1)
        before = world.revision
        world.commit(update_status(report), caller=NODE_1)
        assert world.revision == before


def test_an_operation_without_a_verb_is_refused(world):
    with pytest.raises(InvalidError, match="no verb"):
        world.commit(api_pb2.Operation())
