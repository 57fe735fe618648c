"""Sorted keys follow the changes, and are what sorting would give."""

from hypothesis import given
from hypothesis import strategies as st

from h9s.store import sorted_keys
from h9s.store.keyspace import EMPTY, KeyspaceEditor
from h9s.store.model import Change, KeyValue
from h9s.store.sorted_keys import SortedKeys, group_of
from h9s.store.state_machine import StateMachine
from tests.unit.store.test_state_machine import apply, delete, put

NAMES = st.sampled_from([f"/core/Pod/{space}/{name}" for space in "ab" for name in "abcdefgh"])
STEPS = st.lists(st.lists(st.tuples(NAMES, st.booleans()), max_size=6), max_size=25)


def changed(groups, step, revision):
    """The next version, and the changes that led there."""
    editor, changes = KeyspaceEditor(groups), []
    for key, is_put in step:
        previous = editor.get(key)
        if is_put:
            editor.set(key, current := KeyValue(key, b"", 1, revision))
            changes.append(Change(key, revision, current, previous))
        elif previous is not None:
            editor.delete(key)
            changes.append(Change(key, revision, None, previous))
    return editor.finish(), changes


@given(steps=STEPS, scans=st.lists(st.booleans(), min_size=25, max_size=25))
def test_whatever_changes_and_whenever_it_is_scanned_the_keys_are_those_of_the_group(steps, scans):
    orders, groups = SortedKeys(), EMPTY
    given_out = []
    for revision, (step, scan) in enumerate(zip(steps, scans, strict=False)):
        groups, changes = changed(groups, step, revision)
        orders.follow(groups, changes)
        for name, group in groups.items() if scan else ():
            keys = orders.of(name, group)
            assert keys == sorted(group)
            given_out.append((keys, list(keys)))
    # Pages of older versions are still being read from these.
    assert all(keys == then for keys, then in given_out)


def test_an_older_version_keeps_its_own_order():
    machine = StateMachine()
    apply(machine, put("/core/Pod/a/x"), put("/core/Pod/a/y"))
    old = machine.view()
    assert len(machine.view().scan("/core/Pod/a/")) == 2
    apply(machine, put("/core/Pod/a/b"), delete("/core/Pod/a/x"))
    assert [item.key for item in machine.view().scan("/core/Pod/a/")] == ["/core/Pod/a/b", "/core/Pod/a/y"]
    assert [item.key for item in old.scan("/core/Pod/a/")] == ["/core/Pod/a/x", "/core/Pod/a/y"]


def test_a_large_group_that_changes_between_scans_is_sorted_once(monkeypatch):
    sizes = []

    def sorted_counted(keys):
        sizes.append(len(keys))
        return sorted(keys)

    monkeypatch.setattr(sorted_keys, "sorted", sorted_counted, raising=False)
    machine = StateMachine()
    apply(machine, *(put(f"/core/Pod/a/p{number:05}") for number in range(2_000)))
    for number in range(20):
        machine.view().scan("/core/Pod/a/", limit=1)
        apply(machine, put(f"/core/Pod/a/q{number}"), delete(f"/core/Pod/a/p{number:05}"))
    assert sizes == [2_000]


def test_a_group_that_empties_and_comes_back_is_known_anew():
    machine = StateMachine()
    key = "/core/Pod/a/x"
    for _ in range(3):
        apply(machine, put(key))
        assert [item.key for item in machine.view().scan(group_of(key))] == [key]
        apply(machine, delete(key))
        assert machine.view().scan(group_of(key)) == []
