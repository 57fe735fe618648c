"""The history is one, wherever the border between memory and archive lies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s.errors import CompactedError, FutureRevisionError, HistoryNotHeldError
from h9s.store.model import ALL_KEYS
from h9s.store.past import Past
from h9s.testing.memory_archive import MemoryArchive
from tests.unit.store.histories import Told, histories, ranges
from tests.unit.store.test_state_machine import KEYS, apply, delete, entry, put


@given(histories, ranges, st.data())
@settings(max_examples=150, deadline=None)
def test_a_read_of_the_past_equals_a_replay_to_there(script, keys, data):
    told = Told(script)
    archived = data.draw(st.integers(0, told.machine.revision))
    archive = MemoryArchive()
    told.release(archive, archived=archived, released=data.draw(st.integers(0, archived)))
    told.machine.apply(entry(compact_revision=data.draw(st.integers(0, told.machine.revision))))
    told.check(Past(told.machine, archive), keys, data)


@given(histories, st.data())
@settings(max_examples=150, deadline=None)
def test_a_moment_is_the_last_revision_that_is_not_younger(script, data):
    told = Told(script)
    archived = data.draw(st.integers(0, told.machine.revision))
    archive = MemoryArchive()
    told.release(archive, archived=archived, released=archived)
    past = Past(told.machine, archive)
    for time_ms in range(999_000, told.machine.now_ms + 2000, 500):
        expected = sum(record.time_ms <= time_ms for record in told.records)
        assert past.revision_at(time_ms) == expected


def test_what_everybody_has_forgotten_is_told_apart_from_what_only_this_replica_lacks():
    told = Told([([put(KEYS[0])], 1)] * 6)
    told.machine.apply(entry(compact_revision=2))
    told.machine.history.release(4)
    past = Past(told.machine, None)
    assert past.first_revision == 4
    assert [kv.mod_revision for kv in past.view(4, ALL_KEYS).scan("/")] == [4]
    with pytest.raises(HistoryNotHeldError, match="starts at revision 4, the cluster's at 2"):
        past.view(3, ALL_KEYS)
    with pytest.raises(CompactedError):
        past.view(1, ALL_KEYS)
    with pytest.raises(FutureRevisionError):
        past.view(7, ALL_KEYS)
    with pytest.raises(HistoryNotHeldError):
        past.revision_at(told.records[2].time_ms)


def test_an_archive_that_does_not_reach_what_is_in_memory_is_not_read():
    told = Told([([put(KEYS[0])], 1)] * 6)
    archive = MemoryArchive()
    archive.append(told.records[:2])
    told.machine.history.release(4)
    with pytest.raises(HistoryNotHeldError):
        Past(told.machine, archive).view(1, ALL_KEYS)


def test_an_archive_that_begins_anew_while_it_is_read_holds_nothing():
    told = Told([([put(KEYS[0])], 1)] * 6)
    archive = MemoryArchive()
    told.release(archive, archived=4, released=4)
    past = Past(told.machine, archive)
    assert past.first_revision == 0
    archive.set_aside()
    assert past.first_revision == 4
    with pytest.raises(HistoryNotHeldError, match="starts at revision 4"):
        past.view(1, ALL_KEYS)


def test_a_moment_before_the_history_is_an_error_unless_there_was_nothing_before():
    told = Told([([put(KEYS[0])], 1)] * 4)
    assert Past(told.machine, None).revision_at(0) == 0
    told.machine.apply(entry(compact_revision=2))
    past = Past(told.machine, None)
    assert past.revision_at(told.records[2].time_ms) == 3
    with pytest.raises(CompactedError, match="starts at revision 2"):
        past.revision_at(told.records[1].time_ms)
    assert past.revision_at(told.machine.now_ms + 5) == 4


def test_the_past_does_not_change_while_the_store_goes_on():
    told = Told([([put(KEYS[0], b"1")], 1), ([put(KEYS[1])], 1)])
    past = Past(told.machine, None)
    apply(told.machine, put(KEYS[0], b"2"), delete(KEYS[1]), time_ms=9_000_000)
    assert [kv.value for kv in past.view(2, ALL_KEYS).scan(KEYS[0])] == [b"1"]
    assert past.revision == 2
    assert [record.revision for record in past.records(ALL_KEYS, after=0)] == [1, 2]
