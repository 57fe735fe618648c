"""The state as a backup and back, of now and of any revision before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import backup_pb2
from h9s.errors import CompactedError, DamagedError
from h9s.store.backup import REVISION_GAP, decode, encode, rewound, values_at
from h9s.store.keyspace import KeyspaceView
from h9s.store.past import Past
from h9s.store.state_machine import StateMachine
from tests.unit.store.histories import Told, histories
from tests.unit.store.test_state_machine import KEYS, apply, put


def backup(snapshot):
    header = backup_pb2.BackupHeader(format_version=1, revision=snapshot.revision)
    return [backup_pb2.BackupRecord.FromString(record) for record in encode(snapshot, header)]


def contents(snapshot):
    return {item.key: item for item in KeyspaceView(snapshot.groups, revision=snapshot.revision)}


@given(histories, st.data())
def test_a_backup_of_any_revision_holds_the_state_of_that_revision(script, data):
    told = Told(script)
    revision = data.draw(st.sampled_from(sorted(told.states)))
    snapshot = told.machine.capture()
    if revision != snapshot.revision:
        before = values_at(revision, Past(told.machine, None))
        snapshot = rewound(snapshot, before, revision=revision)
    restored = decode(backup(snapshot))
    assert contents(restored) == told.states[revision]
    assert restored.objects == len(told.states[revision])
    assert {known.outcome.revision for known in restored.requests} <= set(range(revision + 1))


def filled():
    machine = StateMachine()
    for number, key in enumerate(KEYS):
        assert apply(machine, put(key), nonce=b"%016d" % number).failure is None
    return machine


def test_a_restored_store_goes_on_where_the_old_one_cannot_have_been():
    old, machine = filled(), StateMachine()
    machine.restore(decode(backup(old.capture())))
    assert machine.revision == old.revision + REVISION_GAP
    assert machine.view().scan("/") == old.view().scan("/")
    with pytest.raises(CompactedError):
        machine.history.after(old.revision + 1)
    assert apply(machine, put(KEYS[0])).revision == old.revision + REVISION_GAP + 1


def test_a_request_that_was_done_before_the_backup_is_not_done_again():
    old, machine = filled(), StateMachine()
    machine.restore(decode(backup(old.capture())))
    again = apply(machine, put(KEYS[0], b"again"), nonce=b"%016d" % 0)
    assert (again.replayed, again.revision) == (True, 1)


def test_the_same_backup_makes_the_same_state_everywhere():
    records = backup(filled().capture())
    hashes = set()
    for _ in range(2):
        machine = StateMachine()
        machine.restore(decode(records))
        hashes.add(machine.state_hash())
    assert len(hashes) == 1


def test_a_backup_without_its_end_makes_no_state():
    with pytest.raises(DamagedError):
        decode(backup(filled().capture())[:-1])
