"""The state machine against a plain dictionary, and each promise it makes."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, log_pb2
from h9s.errors import CompactedError, FutureRevisionError
from h9s.store.model import FailureKind
from h9s.store.requests import RequestTable
from h9s.store.sorted_keys import SortedKeys
from h9s.store.state_machine import StateMachine

KEYS = [f"/core/Pod/{namespace}/{name}" for namespace in ("a", "b") for name in ("x", "y", "z")]


def put(key, value=b"v"):
    return log_pb2.Mutation(key=key, value=value)


def delete(key):
    return log_pb2.Mutation(key=key)


def entry(*transactions, time_ms=1_000_000, compact_revision=0):
    return log_pb2.LogEntry(
        format_version=1, time_ms=time_ms, transactions=transactions, compact_revision=compact_revision
    )


def transaction(*mutations, guards=(), nonce=None, issued_at_ms=1_000_000):
    request_id = None if nonce is None else api_pb2.RequestId(nonce=nonce, issued_at_ms=issued_at_ms)
    return log_pb2.Transaction(request_id=request_id, guards=guards, mutations=mutations)


def apply(machine, *mutations, **kwargs):
    time_ms = kwargs.pop("time_ms", 1_000_000)
    (outcome,) = machine.apply(entry(transaction(*mutations, **kwargs), time_ms=time_ms))
    return outcome


mutations = st.lists(
    st.one_of(
        st.builds(put, st.sampled_from(KEYS), st.binary(max_size=4)),
        st.builds(delete, st.sampled_from(KEYS)),
    ),
    max_size=4,
    unique_by=lambda mutation: mutation.key,
)


@given(st.lists(mutations, max_size=30))
@settings(max_examples=300, deadline=None)
def test_every_revision_can_be_read_back_as_it_was(script):
    machine = StateMachine()
    model: dict[str, bytes] = {}
    states: dict[int, dict[str, bytes]] = {0: {}}
    for step in script:
        before = machine.revision
        changes_something = any(m.HasField("value") or m.key in model for m in step)
        assert apply(machine, *step).revision == before + changes_something
        for mutation in step:
            if mutation.HasField("value"):
                model[mutation.key] = mutation.value
            else:
                model.pop(mutation.key, None)
        states[machine.revision] = dict(model)
    for revision, state in states.items():
        if revision == 0 and machine.revision:
            continue
        view = machine.view(revision)
        assert {kv.key: kv.value for kv in view} == state
        assert [kv.key for kv in view.scan("/core/Pod/a/")] == sorted(k for k in state if "/a/" in k)
    assert len(machine) == len(model)


@given(st.lists(mutations, max_size=30), st.data())
@settings(max_examples=200, deadline=None)
def test_replaying_the_changes_from_any_revision_gives_the_current_state(script, data):
    machine = StateMachine()
    for step in script:
        apply(machine, *step)
    start = data.draw(st.integers(min_value=min(1, machine.revision), max_value=machine.revision))
    replayed = {kv.key: kv for kv in machine.view(start)} if start else {}
    expected_revision = start
    for record in machine.history.after(start):
        expected_revision += 1
        assert record.revision == expected_revision
        for change in record.changes:
            assert change.previous == replayed.get(change.key)
            if change.current is None:
                del replayed[change.key]
            else:
                assert change.current.mod_revision == record.revision
                replayed[change.key] = change.current
    assert replayed == {kv.key: kv for kv in machine.view()}


@given(st.lists(mutations, max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_same_log_gives_the_same_hash_and_another_log_another(script):
    first, second = StateMachine(), StateMachine()
    for step in script:
        for machine in (first, second):
            apply(machine, *copy.deepcopy(step))
    assert first.state_hash() == second.state_hash()
    assert first.history_hash == second.history_hash
    apply(second, put("/core/Pod/a/other"))
    assert first.state_hash() != second.state_hash()
    assert first.history_hash != second.history_hash


def test_a_transaction_is_all_or_nothing():
    machine = StateMachine()
    apply(machine, put(KEYS[0]))
    guard = log_pb2.Guard(key=KEYS[1], mod_revision=7, operation=1, client=True)
    outcome = apply(machine, put(KEYS[2]), delete(KEYS[0]), guards=[guard])
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.GUARD
    assert (outcome.failure.operation, outcome.failure.actual_revision) == (1, 0)
    assert [kv.key for kv in machine.view()] == [KEYS[0]]
    assert machine.revision == 1


def test_all_mutations_of_a_transaction_share_one_revision():
    machine = StateMachine()
    assert apply(machine, put(KEYS[0]), put(KEYS[1])).revision == 1
    assert {kv.mod_revision for kv in machine.view()} == {1}
    assert apply(machine, put(KEYS[0], b"w")).revision == 2
    changed = machine.view().get(KEYS[0])
    assert changed is not None
    assert (changed.create_revision, changed.mod_revision) == (1, 2)


def test_changing_a_key_twice_in_one_transaction_is_refused():
    machine = StateMachine()
    outcome = apply(machine, put(KEYS[0]), delete(KEYS[0]))
    assert outcome.failure.kind is FailureKind.INVALID
    assert machine.revision == 0


@pytest.mark.parametrize("key", ["", "x", "/core/Pod/default/"])
def test_a_malformed_key_is_refused_without_raising(key):
    assert apply(StateMachine(), put(key)).failure.kind is FailureKind.INVALID


def test_a_retried_request_returns_the_first_outcome_and_changes_nothing():
    machine = StateMachine()
    first = apply(machine, put(KEYS[0]), nonce=b"n" * 16)
    apply(machine, put(KEYS[1]))
    again = apply(machine, put(KEYS[0]), nonce=b"n" * 16)
    assert again.replayed
    assert again.revision == first.revision == 1
    assert machine.revision == 2


def test_a_failed_precondition_of_the_client_is_remembered_but_not_one_of_the_proposer():
    machine = StateMachine()
    absent = log_pb2.Guard(key=KEYS[0], mod_revision=5, client=True)
    assert apply(machine, put(KEYS[1]), guards=[absent], nonce=b"c" * 16).failure is not None
    assert apply(machine, put(KEYS[1]), nonce=b"c" * 16).replayed
    absent.client = False
    assert apply(machine, put(KEYS[1]), guards=[absent], nonce=b"p" * 16).failure is not None
    retried = apply(machine, put(KEYS[1]), nonce=b"p" * 16)
    assert retried.failure is None
    assert not retried.replayed


def test_an_id_that_may_have_been_forgotten_is_refused_and_not_executed():
    machine = StateMachine(requests=RequestTable(max_remembered=2))
    for number in range(4):
        apply(machine, put(KEYS[0]), nonce=bytes([number]) * 16, issued_at_ms=1_000_000 + number)
    revision = machine.revision
    refused = apply(machine, put(KEYS[0]), nonce=bytes([0]) * 16, issued_at_ms=1_000_000)
    assert refused.failure.kind is FailureKind.EXPIRED
    assert machine.revision == revision
    assert apply(machine, put(KEYS[0]), nonce=bytes([3]) * 16, issued_at_ms=1_000_003).replayed


def test_an_id_is_refused_when_it_is_older_than_the_age_that_ids_are_remembered_for():
    machine = StateMachine()
    apply(machine, put(KEYS[0]), nonce=b"a" * 16, issued_at_ms=1_000_000)
    later = 1_000_000 + 10 * 60 * 1000 + 1
    refused = apply(machine, put(KEYS[0]), nonce=b"a" * 16, issued_at_ms=1_000_000, time_ms=later)
    assert refused.failure.kind is FailureKind.EXPIRED
    assert len(machine.requests) == 0


def test_an_id_from_the_future_is_refused():
    machine = StateMachine()
    outcome = apply(machine, put(KEYS[0]), nonce=b"f" * 16, issued_at_ms=1_011_000)
    assert outcome.failure.kind is FailureKind.EXPIRED
    assert machine.revision == 0


def test_the_clock_never_goes_back():
    machine = StateMachine()
    apply(machine, put(KEYS[0]), time_ms=2_000_000)
    apply(machine, put(KEYS[0]), time_ms=1_000_000)
    assert machine.now_ms == 2_000_000
    assert machine.history.revision_at(1_999_999) == 0
    assert machine.history.revision_at(2_000_000) == 2


def test_compaction_moves_the_floor_and_what_is_below_it_is_a_typed_error():
    machine = StateMachine()
    for _ in range(5):
        apply(machine, put(KEYS[0]))
    machine.apply(entry(compact_revision=3))
    assert machine.history.compact_revision == 3
    assert machine.revision == 5
    assert machine.view(3).revision == 3
    with pytest.raises(CompactedError):
        machine.view(2)
    with pytest.raises(CompactedError):
        machine.history.after(2)
    with pytest.raises(FutureRevisionError):
        machine.view(6)
    assert [record.revision for record in machine.history.after(3)] == [4, 5]


def test_a_view_does_not_change_with_the_store():
    machine = StateMachine()
    apply(machine, put(KEYS[0], b"old"))
    view = machine.view()
    apply(machine, put(KEYS[0], b"new"), put(KEYS[1]))
    assert [kv.value for kv in view] == [b"old"]


def test_a_scan_pages_through_a_prefix_in_order():
    machine = StateMachine()
    apply(machine, *(put(key) for key in KEYS))
    view = machine.view()
    first = view.scan("/core/Pod/", limit=4)
    rest = view.scan("/core/Pod/", after=first[-1].key, limit=4)
    assert [kv.key for kv in first + rest] == sorted(KEYS)
    assert view.scan("/core/Pod/a/y")[0].key == "/core/Pod/a/y"
    assert view.scan("/apps/") == []


def test_the_later_pages_of_a_scan_do_not_sort_the_groups_of_the_earlier_ones(monkeypatch):
    machine = StateMachine()
    keys = [f"/core/Pod/{space:03}/{name}" for space in range(100) for name in "ab"]
    keys += ["/core/Pod/05-x/a", "/core/Pod/05/a"]
    apply(machine, *map(put, keys))
    view = machine.view()
    found: list[str] = []
    sorted_groups = []
    of = SortedKeys.of

    def of_counted(self, name, group):
        sorted_groups.append(group)
        return of(self, name, group)

    monkeypatch.setattr(SortedKeys, "of", of_counted)
    while page := view.scan("/core/Pod/", after=found[-1] if found else "", limit=3):
        found += [kv.key for kv in page]
    assert found == sorted(keys)
    assert len(sorted_groups) < 300
