"""What a decision relied on becomes guards; limits of a Commit."""

import pytest

from h9s._pb import core_pb2
from h9s.api.keys import object_key
from h9s.api.kinds import kind_of
from h9s.apiserver.refusals import error_of_failure
from h9s.apiserver.transactions import MAX_OPERATIONS, Decision
from h9s.client.operations import check, create, delete, update
from h9s.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError, TooLargeError
from tests.unit.apiserver.support import World, copy_of, lease, pod


def guards_of(decision):
    assert isinstance(decision, Decision), decision
    return {guard.key: (guard.mod_revision, guard.client) for guard in decision.transaction.guards}


def key(message):
    kind = kind_of(message)
    return object_key(kind, message.metadata.namespace, message.metadata.name)


NAMESPACE = "/core/Namespace//default"


def test_a_create_relies_on_its_namespace_and_asks_for_a_free_name():
    assert guards_of(World().decide(create(pod()))) == {NAMESPACE: (1, False), key(pod()): (0, True)}


def test_a_generated_name_is_not_what_the_client_asked_for():
    decision = World().decide(create(pod("", generate_name="x-")))
    assert [client for _, client in guards_of(decision).values()] == [False, False]


def test_an_update_relies_on_what_it_was_merged_with():
    world = World()
    created = world.commit_one(create(lease()))
    assert guards_of(world.decide(update(lease(holder="x")))) == {key(lease()): (2, False)}
    assert guards_of(world.decide(update(created))) == {key(lease()): (2, True)}


def test_a_delete_too():
    world = World()
    world.commit(create(lease()))
    assert guards_of(world.decide(delete(lease()))) == {key(lease()): (2, False)}
    assert guards_of(world.decide(delete(lease(), mod_revision=2))) == {key(lease()): (2, True)}
    assert guards_of(world.decide(check(lease(), mod_revision=2))) == {key(lease()): (2, True)}


def test_a_decision_that_the_state_has_left_behind_does_nothing():
    world = World()
    world.commit(create(lease()))
    late = world.decide(update(lease(holder="late")), create(pod()))
    world.commit(update(lease(holder="first")))
    assert isinstance(late, Decision)
    outcome = world.apply(late.transaction)
    assert outcome.failure is not None
    assert not outcome.failure.client
    assert world.get(lease()).spec.holder_identity == "first"
    assert world.get(pod()) is None


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (create(pod()), create(pod()), AlreadyExistsError),
        (update(lease(holder="x")), update(copy_of(lease(holder="y"), resource_version="2")), ConflictError),
        (delete(lease()), update(copy_of(lease(holder="y"), resource_version="2")), NotFoundError),
        (delete(lease()), delete(lease(), mod_revision=2), NotFoundError),
        (delete(lease()), check(lease(), mod_revision=2), ConflictError),
        (create(pod()), check(pod(), mod_revision=0), ConflictError),
    ],
)
def test_a_failed_guard_of_the_clients_says_what_it_means_to_it(first, second, error):
    world = World()
    world.commit(create(lease()))
    ops = [create(pod("other")), second]
    late = world.decide(*ops)
    world.commit(first)
    assert isinstance(late, Decision)
    failure = world.apply(late.transaction).failure
    assert failure is not None
    assert failure.client
    told = error_of_failure(failure, ops)
    assert type(told) is error
    assert told.operation == 1
    assert "default" in told.message


class TestLimits:
    def test_a_commit_has_operations(self):
        with pytest.raises(InvalidError, match="no operations"):
            World().commit()

    def test_but_not_too_many(self):
        world = World()
        world.commit(*[create(lease(f"l{i}")) for i in range(MAX_OPERATIONS)])
        with pytest.raises(TooLargeError, match="1001 operations"):
            world.commit(*[delete(core_pb2.Pod, f"l{i}", "default") for i in range(MAX_OPERATIONS + 1)])

    def test_and_not_too_large(self):
        world = World()
        large = [create(pod(f"p{i}", annotations={"a": "x" * 200_000})) for i in range(8)]
        world.commit(*large[:7])
        with pytest.raises(TooLargeError, match="bytes"):
            World().commit(*large)
