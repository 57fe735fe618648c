"""DELETE and CHECK: what goes at once, what is announced, what is asked."""

import pytest

from h9s._pb import api_pb2, core_pb2
from h9s.client.operations import check, create, delete, update
from h9s.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.unit.apiserver.support import NODE_1, World, copy_of, lease, namespace, pod


@pytest.fixture
def world():
    return World()


class TestPods:
    def test_one_without_a_node_goes_at_once(self, world):
        created = world.commit_one(create(pod()))
        (last,) = world.commit(delete(core_pb2.Pod, "web", "default"))
        assert world.get(pod()) is None
        assert copy_of(last, resource_version="") == copy_of(created, resource_version="")
        assert last.metadata.resource_version == str(world.revision)

    def test_one_on_a_node_gets_its_grace_period(self, world):
        world.commit(create(pod(node="n1", grace=20)))
        (announced,) = world.commit(delete(core_pb2.Pod, "web", "default"))
        assert announced.metadata.deletion_timestamp.seconds == world.now + 20
        assert announced.metadata.deletion_grace_period_seconds == 20
        assert world.get(pod()) == announced

    def test_the_client_may_name_the_grace_period(self, world):
        world.commit(create(pod(node="n1")))
        (announced,) = world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=3))
        assert announced.metadata.deletion_timestamp.seconds == world.now + 3

    def test_zero_means_at_once(self, world):
        world.commit(create(pod(node="n1")))
        world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=0))
        assert world.get(pod()) is None

    def test_the_howbelet_ends_it(self, world):
        created = world.commit_one(create(pod(node="n1")))
        world.commit(delete(created))
        world.commit(delete(created, grace_period_seconds=0), caller=NODE_1)
        assert world.get(pod()) is None

    def test_a_second_delete_may_shorten_the_wait_but_not_prolong_it(self, world):
        world.commit(create(pod(node="n1", grace=30)))
        world.commit(delete(core_pb2.Pod, "web", "default"))
        world.now += 10
        before = world.revision
        world.commit(delete(core_pb2.Pod, "web", "default"))
        world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=60))
        assert world.revision == before
        (sooner,) = world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=5))
        assert sooner.metadata.deletion_timestamp.seconds == world.now + 5
        assert sooner.metadata.deletion_grace_period_seconds == 5

    def test_a_negative_grace_period_is_refused(self, world):
        world.commit(create(pod(node="n1")))
        with pytest.raises(InvalidError, match="negative"):
            world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=-1))

    def test_a_finalizer_holds_it_beyond_its_end(self, world):
        world.commit(create(pod(node="n1", finalizers=["a.com/x"])))
        world.commit(delete(core_pb2.Pod, "web", "default", grace_period_seconds=0))
        held = world.get(pod())
        assert held.metadata.deletion_grace_period_seconds == 0
        del held.metadata.finalizers[:]
        world.commit(update(held))
        assert world.get(pod()) is None

    def test_without_its_finalizers_it_still_gets_its_grace_period(self, world):
        world.commit(create(pod(node="n1", finalizers=["a.com/x"])))
        (announced,) = world.commit(delete(core_pb2.Pod, "web", "default"))
        del announced.metadata.finalizers[:]
        world.commit(update(announced))
        assert world.get(pod()).metadata.HasField("deletion_timestamp")

    def test_the_generation_does_not_count_it(self, world):
        world.commit(create(pod(node="n1")))
        (announced,) = world.commit(delete(core_pb2.Pod, "web", "default"))
        assert announced.metadata.generation == 1


class TestNamespaces:
    def test_an_update_that_has_not_seen_the_deletion_does_not_end_it(self, world):
        world.commit(create(namespace("team")), create(pod("p", "team")))
        world.commit(delete(core_pb2.Namespace, "team"))
        world.commit(update(namespace("team", labels={"a": "b"})))
        terminating = world.get(namespace("team"))
        assert list(terminating.spec.finalizers) == ["kubernetes"]
        assert terminating.metadata.labels["a"] == "b"

    def test_deletion_is_announced(self, world):
        world.commit(create(namespace("team")))
        (terminating,) = world.commit(delete(core_pb2.Namespace, "team"))
        assert terminating.status.phase == "Terminating"
        assert terminating.metadata.deletion_timestamp.seconds == world.now
        before = world.revision
        world.commit(delete(core_pb2.Namespace, "team"))
        assert world.revision == before

    @pytest.mark.parametrize("name", ["default", "h9s-system"])
    def test_those_of_the_system_stay(self, name):
        world = World("default", "h9s-system")
        with pytest.raises(ForbiddenError, match="cannot be deleted"):
            world.commit(delete(core_pb2.Namespace, name))


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
    )
    def test_the_collector_is_asked_by_a_finalizer(self, world, policy, finalizer):
        world.commit(create(lease()))
        (announced,) = world.commit(delete(lease(), propagation_policy=policy))
        assert list(announced.metadata.finalizers) == [finalizer]
        assert world.get(lease()) is not None

    def test_in_the_background_it_goes_at_once(self, world):
        world.commit(create(lease()))
        world.commit(delete(lease(), propagation_policy="Background"))
        assert world.get(lease()) is None

    def test_an_unknown_one_is_refused(self, world):
        world.commit(create(lease()))
        with pytest.raises(InvalidError, match="'Sideways' is none of"):
            world.commit(delete(lease(), propagation_policy="Sideways"))


class TestPreconditions:
    def test_the_uid_must_be_the_objects(self, world):
        created = world.commit_one(create(lease()))
        with pytest.raises(ConflictError, match="another one than meant"):
            world.commit(delete(lease(), uid="other"))
        world.commit(delete(created))
        assert world.get(lease()) is None

    def test_the_revision_must_be_current(self, world):
        created = world.commit_one(create(lease()))
        revision = int(created.metadata.resource_version)
        world.commit(update(lease(holder="x")))
        with pytest.raises(ConflictError):
            world.commit(delete(lease(), mod_revision=revision))
        world.commit(delete(lease(), mod_revision=world.revision))

    def test_what_is_not_there_cannot_be_deleted(self, world):
        with pytest.raises(NotFoundError):
            world.commit(delete(lease()))

    def test_a_collection_cannot_be_deleted(self, world):
        with pytest.raises(InvalidError, match="no name"):
            world.commit(delete(core_pb2.Pod, "", "default"))

    def test_an_unknown_kind_is_refused(self, world):
        op = api_pb2.Operation(verb=api_pb2.Operation.DELETE, key=api_pb2.ObjectKey(kind="Podd", name="x"))
        with pytest.raises(InvalidError, match="did you mean"):
            world.commit(op)


class TestCheck:
    def test_it_changes_nothing(self, world):
        created = world.commit_one(create(lease()))
        before = world.revision
        (seen,) = world.commit(check(created, mod_revision=before, uid=created.metadata.uid))
        assert (seen, world.revision) == (created, before)

    def test_it_fails_the_whole_commit(self, world):
        world.commit(create(lease()))
        with pytest.raises(ConflictError) as caught:
            world.commit(create(pod()), check(lease(), mod_revision=1))
        assert caught.value.operation == 1
        assert world.get(pod()) is None

    def test_absence_can_be_checked(self, world):
        assert world.commit(check(lease(), mod_revision=0)) == [None]
        world.commit(create(lease()))
        with pytest.raises(ConflictError):
            world.commit(check(lease(), mod_revision=0))

    def test_of_what_is_missing(self, world):
        with pytest.raises(NotFoundError):
            world.commit(check(lease()))
        with pytest.raises(ConflictError, match="does not exist"):
            world.commit(check(lease(), mod_revision=3))

    def test_and_of_the_uid(self, world):
        world.commit(create(lease()))
        with pytest.raises(ConflictError):
            world.commit(check(lease(), uid="other"))
