"""Crashes at any moment lose what was not synced and nothing else; damage is never taken for a crash."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from h9s.raft import records
from h9s.raft.errors import JournalCorruptError, JournalError, JournalTailDamagedError
from h9s.raft.journal import Journal, TornTail
from h9s.raft.journal_recovery import encode_mark, replay
from h9s.raft.storage import FileStorage
from h9s.sim.disk import SimDisk

IDENTITY = "test/r1"


class JournalMachine(RuleBasedStateMachine):
    """A journal against a plain list; `synced` is what the last sync saw."""

    @initialize(seed=st.integers(0, 1 << 30), segment_bytes=st.sampled_from((150, 400, 1 << 16)))
    def begin(self, seed, segment_bytes):
        self.disk = SimDisk(random.Random(seed))
        self.segment_bytes = segment_bytes
        self.entries: list[tuple[bytes, int, int]] = []
        self.hard_state: tuple[int, str | None] = (0, None)
        #: Every state since the last sync; the last sync's own is the first.
        self.possible: list[tuple[list[tuple[bytes, int, int]], tuple[int, str | None]]] = [
            ([], self.hard_state)
        ]
        self.torn: list[TornTail] = []
        self.open()

    def open(self):
        self.torn.clear()
        self.journal = Journal(
            self.disk,
            identity=IDENTITY,
            segment_bytes=self.segment_bytes,
            on_torn_tail=self.torn.append,
        )

    def changed(self):
        self.possible.append((list(self.entries), self.hard_state))

    @rule(payload=st.binary(max_size=60), back=st.sampled_from((0, 0, 0, 1, 3)), jump=st.integers(0, 2))
    def add(self, payload, back, jump):
        """At the end, or over what is there."""
        index = max(1, len(self.entries) + 1 - back)
        term = jump + (self.entries[-1][2] if self.entries else 0)
        if index > len(self.entries) or self.entries[index - 1][2] != term:
            del self.entries[index - 1 :]
            self.entries.append((payload, index, term))
        self.journal.add(payload, index, term)
        self.changed()

    @rule(jump=st.integers(0, 3), voted_for=st.sampled_from((None, "r1", "r2", "a replica with a long name")))
    def set_term(self, jump, voted_for):
        self.hard_state = (self.hard_state[0] + jump, voted_for)
        self.journal.setCurrentTerm(*self.hard_state)
        self.changed()

    @rule()
    def sync(self):
        self.journal.sync()
        self.possible = self.possible[-1:]

    @rule()
    def reopen_without_a_crash(self):
        self.sync()
        self.open()
        assert self.torn == []

    @rule()
    def crash(self):
        self.disk.crash()
        self.recover()

    @rule()
    def crash_in_the_middle_of_a_sync(self):
        """Of what was written, any first bytes may be there."""
        self.disk.is_failing = True
        self.changed()
        try:
            self.journal.sync()
        except JournalError:
            pass
        self.disk.crash()
        self.recover()

    @precondition(lambda self: self.segment_bytes < 1000)
    @rule(payload=st.binary(min_size=400, max_size=400))
    def crash_in_the_middle_of_a_rotation(self, payload):
        """The entry is synced, then the next segment cannot be made."""
        self.add(payload, 0, 1)
        in_order = iter((False, True))
        self.disk.synced = lambda: self.fail_if(next(in_order))  # type: ignore[method-assign]
        with pytest.raises(JournalError, match="cannot be made"):
            self.journal.sync()
        del self.disk.synced
        self.possible = self.possible[-1:]
        self.disk.crash()
        self.recover()

    def fail_if(self, is_time):
        if is_time:
            raise OSError("the power is gone")

    def recover(self):
        self.open()
        self.entries = [(entry.command, entry[1], entry.term) for entry in self.journal]
        self.hard_state = (self.journal.getCurrentTerm(), self.journal.getVotedForNodeId())
        found = (list(self.entries), self.hard_state)
        assert found in self.possible, "the synced part is there, and nothing was invented"
        self.possible = [found]

    @invariant()
    def it_reads_as_the_list(self):
        if hasattr(self, "journal"):
            assert [tuple(entry) for entry in self.journal] == self.entries


JournalMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestJournal = JournalMachine.TestCase


# --- torn and damaged ------------------------------------------------------------------------


def filled(disk, *, entries=20, segment_bytes=400):
    journal = Journal(disk, identity=IDENTITY, segment_bytes=segment_bytes)
    journal.setCurrentTerm(3, "r2")
    for index in range(1, entries + 1):
        journal.add(b"entry %d" % index, index, 3)
        journal.sync()
    return journal


def test_a_torn_tail_is_cut_off_and_reported():
    disk = SimDisk(random.Random(0))
    journal = filled(disk, entries=3, segment_bytes=1 << 16)
    journal.add(b"never acknowledged", 4, 3)
    disk.is_failing = True
    with pytest.raises(JournalError):
        journal.sync()
    (file,) = disk._files.values()
    end = len(file.durable)
    file.durable += file.unsynced[:30]
    file.unsynced.clear()
    disk.is_failing = False
    torn: list[TornTail] = []
    recovered = Journal(disk, identity=IDENTITY, segment_bytes=1 << 16, on_torn_tail=torn.append)
    assert len(recovered) == 3
    assert [(tail.segment, tail.offset) for tail in torn] == [("journal-00000001.log", end)]
    # It does not come back, and does not stand in the way of what is written next.
    recovered.add(b"acknowledged", 4, 4)
    recovered.sync()
    disk.crash()
    again = Journal(disk, identity=IDENTITY, on_torn_tail=torn.append)
    assert again[-1] == (b"acknowledged", 4, 4)
    assert len(torn) == 1


@pytest.mark.parametrize("segment", [0, 1, -2])
def test_a_damaged_byte_in_an_earlier_segment_is_refused_with_its_place(segment):
    disk = SimDisk(random.Random(0))
    filled(disk, entries=50)
    name = disk.names()[segment]
    for offset in range(0, len(disk.read(name)), 7):
        disk.flip(name, offset)
        with pytest.raises(JournalCorruptError, match=f"segment {name}: offset \\d+"):
            Journal(disk, identity=IDENTITY, segment_bytes=400)
        disk.flip(name, offset)
    assert len(Journal(disk, identity=IDENTITY, segment_bytes=400)) == 50


def test_a_damaged_header_is_never_taken_for_a_segment_that_was_not_begun():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=1)
    (name,) = disk.names()
    for offset in range(len(records.encode_header(IDENTITY))):
        disk.flip(name, offset)
        with pytest.raises(JournalCorruptError, match="header is damaged"):
            Journal(disk, identity=IDENTITY, segment_bytes=400)
        disk.flip(name, offset)


def test_a_missing_segment_is_noticed():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=50)
    disk.remove(disk.names()[1])
    with pytest.raises(JournalCorruptError, match="does not continue the log"):
        Journal(disk, identity=IDENTITY)


@pytest.mark.parametrize("written", [0, 1, 30, 40])
def test_a_segment_whose_making_was_interrupted_is_made_again(written):
    disk = SimDisk(random.Random(0))
    filled(disk)
    unfinished = f"journal-{len(disk.names()) + 1:08d}.log"
    file = disk.create(unfinished, preallocate_bytes=400)
    file.append((records.encode_header(IDENTITY) + bytes(40))[:written])
    file.sync()
    journal = Journal(disk, identity=IDENTITY, segment_bytes=400)
    assert (len(journal), journal.getCurrentTerm(), journal.getVotedForNodeId()) == (20, 3, "r2")
    for index in range(21, 41):
        journal.add(bytes(100), index, 3)
        journal.sync()
    assert len(Journal(disk, identity=IDENTITY, segment_bytes=400)) == 40


def test_a_first_segment_whose_making_was_interrupted_is_made_again():
    disk = SimDisk(random.Random(0))
    disk.create("journal-00000001.log", preallocate_bytes=400).append(b"\x01")
    journal = Journal(disk, identity=IDENTITY, segment_bytes=400)
    journal.add(b"x", 1, 0)
    journal.sync()
    assert len(Journal(disk, identity=IDENTITY, segment_bytes=400)) == 1


def test_a_format_of_the_future_is_refused(monkeypatch):
    disk = SimDisk(random.Random(0))
    monkeypatch.setattr(records, "FORMAT_VERSION", 2)
    filled(disk)
    monkeypatch.undo()
    with pytest.raises(JournalCorruptError, match="format 2 is not known"):
        Journal(disk, identity=IDENTITY)


# --- real files ------------------------------------------------------------------------------


def test_real_files_hold_what_was_synced(tmp_path):
    journal = filled(FileStorage(tmp_path / "raft"), entries=50)
    journal._destroy()
    assert len(list((tmp_path / "raft").iterdir())) > 3
    recovered = Journal(FileStorage(tmp_path / "raft"), identity=IDENTITY, segment_bytes=400)
    assert [entry.command for entry in recovered] == [b"entry %d" % index for index in range(1, 51)]
    assert (recovered.getCurrentTerm(), recovered.getVotedForNodeId()) == (3, "r2")
    recovered._destroy()


def test_real_files_are_cut_behind_a_torn_record(tmp_path):
    filled(FileStorage(tmp_path), entries=3, segment_bytes=4096)._destroy()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    assert len(data) == 4096, "its space is reserved"
    end = len(bytes(data).rstrip(b"\0"))
    data[end : end + 50] = records.encode_record(records.ENTRY, 4, 3, bytes(range(1, 100)))[:50]
    path.write_bytes(data)
    torn: list[TornTail] = []
    recovered = Journal(
        FileStorage(tmp_path), identity=IDENTITY, segment_bytes=4096, on_torn_tail=torn.append
    )
    recovered._destroy()
    assert len(recovered) == 3
    assert [tail.offset for tail in torn] == [end]
    assert path.read_bytes()[end:] == bytes(4096 - end)


def test_real_files_are_synced_when_the_journal_says_so(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("h9s.raft.storage.os.fdatasync", lambda descriptor: calls.append(descriptor))
    journal = Journal(FileStorage(tmp_path), identity=IDENTITY)
    calls.clear()
    journal.add(b"x", 1, 0)
    assert calls == []
    journal.sync()
    assert len(calls) == 1
    journal._destroy()


def test_a_new_files_name_is_made_durable(tmp_path, monkeypatch):
    """Or a power loss could take a whole segment, synced as it is."""
    synced = []
    monkeypatch.setattr(
        "h9s.raft.storage.os.fsync",
        lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")),
    )
    FileStorage(tmp_path).create("a", preallocate_bytes=0).close()
    assert {str(tmp_path), str(tmp_path.parent)} <= set(synced)
    synced.clear()
    FileStorage(tmp_path).remove("a")
    assert synced[-1] == str(tmp_path)


def test_a_real_disk_that_fails_is_fatal(tmp_path, monkeypatch):
    journal = Journal(FileStorage(tmp_path), identity=IDENTITY)
    journal.add(b"x", 1, 0)

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("h9s.raft.storage.os.fdatasync", fail)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.sync()
    journal._destroy()


# --- damage to what had been synced, at the end ----------------------------------------------


def synced_offsets(disk, name):
    """Where the batches of a segment begin."""
    data = disk.read(name)
    found = records.decode_segment(data, identity=IDENTITY, name=name)
    return [record.index for record in found if record.kind == records.SYNCED]


def test_damage_in_front_of_the_last_batch_is_never_taken_for_a_torn_record():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=6, segment_bytes=1 << 16)
    (name,) = disk.names()
    header = len(records.encode_header(IDENTITY))
    last_batch = synced_offsets(disk, name)[-1]
    for offset in range(header, last_batch):
        disk.flip(name, offset)
        with pytest.raises(JournalTailDamagedError, match=rf"{name}: offset \d+: .* had been synced"):
            Journal(disk, identity=IDENTITY)
        disk.flip(name, offset)
    assert len(Journal(disk, identity=IDENTITY)) == 6


def test_a_zeroed_page_in_front_of_the_last_batch_is_damage():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=200, segment_bytes=1 << 16)
    (name,) = disk.names()
    disk._files[name].durable[1000:5096] = bytes(4096)
    with pytest.raises(JournalTailDamagedError):
        Journal(disk, identity=IDENTITY)


def test_damage_to_the_last_batch_cannot_be_told_from_a_torn_one():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=6, segment_bytes=1 << 16)
    (name,) = disk.names()
    disk.flip(name, synced_offsets(disk, name)[-1] + 60)
    torn: list[TornTail] = []
    assert len(Journal(disk, identity=IDENTITY, on_torn_tail=torn.append)) == 5
    assert len(torn) == 1


def test_once_the_last_batch_is_marked_its_damage_is_told_too():
    disk = SimDisk(random.Random(0))
    filled(disk, entries=6, segment_bytes=1 << 16).mark()
    (name,) = disk.names()
    file = disk._files[name]
    file.durable += file.unsynced
    file.unsynced.clear()
    disk.flip(name, synced_offsets(disk, name)[-2] + 60)
    with pytest.raises(JournalTailDamagedError):
        Journal(disk, identity=IDENTITY)


def test_a_mark_that_was_not_synced_vouches_for_no_more_than_what_was_before_it():
    """The power fails while the next batch is synced, and only its end reaches the disk."""
    disk = SimDisk(random.Random(0))
    journal = filled(disk, entries=3, segment_bytes=1 << 16)
    journal.mark()
    journal.add(b"never acknowledged", 4, 3)
    journal.sync()
    (name,) = disk.names()
    mark = synced_offsets(disk, name)[-1]
    length = len(encode_mark(mark, commit_index=0))
    disk._files[name].durable[mark : mark + length] = bytes(length)
    torn: list[TornTail] = []
    assert len(Journal(disk, identity=IDENTITY, on_torn_tail=torn.append)) == 3
    assert [tail.offset for tail in torn] == [mark]


def test_an_earlier_segment_that_lost_its_end_is_noticed():
    disk = SimDisk(random.Random(0))
    journal = Journal(disk, identity=IDENTITY, segment_bytes=400)
    for term in range(1, 40):
        journal.setCurrentTerm(term, "r2")
        journal.sync()
    first = disk.names()[0]
    disk._files[first].durable = disk._files[first].durable[: synced_offsets(disk, first)[-1]]
    with pytest.raises(JournalCorruptError, match=f"{first}: offset \\d+"):
        Journal(disk, identity=IDENTITY, segment_bytes=400)


def test_how_far_the_log_was_committed_can_be_read_back():
    disk = SimDisk(random.Random(0))
    journal = filled(disk, entries=6, segment_bytes=1 << 16)
    journal.setRaftCommitIndex(5)
    journal.mark()
    (name,) = disk.names()
    disk._files[name].durable += disk._files[name].unsynced
    assert replay(disk, identity=IDENTITY).commit_index == 5
