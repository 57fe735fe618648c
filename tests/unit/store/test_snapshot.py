"""A snapshot gives back exactly the state that was captured."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s.errors import InvalidError
from h9s.store.snapshot import decode, encode
from h9s.store.state_machine import StateMachine
from tests.unit.store.test_state_machine import KEYS, apply, entry, mutations, put


def restored(parts):
    machine = StateMachine()
    machine.restore(decode(parts))
    return machine


@given(st.lists(mutations, max_size=30), st.data())
@settings(max_examples=150, deadline=None)
def test_a_restored_state_machine_equals_the_captured_one_and_goes_on_like_it(script, data):
    machine = StateMachine()
    for number, step in enumerate(script):
        apply(machine, *step, nonce=bytes([number]) * 16)
    machine.apply(entry(compact_revision=data.draw(st.integers(0, machine.revision + 1))))
    copy = restored(encode(machine.capture()))
    assert copy.state_hash() == machine.state_hash()
    assert len(copy) == len(machine)
    for revision in range(machine.history.compact_revision, machine.revision + 1):
        if revision:
            assert list(copy.view(revision)) == list(machine.view(revision))
    for one in (machine, copy):
        apply(one, put(KEYS[0]), nonce=b"\xff" * 16)
        apply(one, put(KEYS[0]), nonce=bytes([0]) * 16)
    assert copy.state_hash() == machine.state_hash()


def test_what_happens_after_the_capture_is_not_in_the_snapshot():
    machine = StateMachine()
    apply(machine, put(KEYS[0], b"before"))
    snapshot = machine.capture()
    apply(machine, put(KEYS[0], b"after"), put(KEYS[1]))
    copy = restored(encode(snapshot))
    assert [(kv.key, kv.value) for kv in copy.view()] == [(KEYS[0], b"before")]
    assert copy.revision == 1


def test_a_large_state_is_encoded_in_small_parts():
    machine = StateMachine()
    for number in range(300):
        apply(machine, put(f"/core/Pod/a/p{number}", bytes(10_000)))
    parts = list(encode(machine.capture()))
    assert len(parts) > 20
    assert max(map(len, parts)) < 300_000
    assert restored(parts).state_hash() == machine.state_hash()


def test_a_missing_part_is_noticed():
    machine = StateMachine()
    for number in range(100):
        apply(machine, put(f"/core/Pod/a/p{number}", bytes(10_000)))
    parts = list(encode(machine.capture()))
    with pytest.raises(InvalidError, match="not complete"):
        decode(parts[:-1])
    with pytest.raises(InvalidError):
        decode([])
