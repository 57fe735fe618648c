"""The archive of old revisions: it tells what was appended, survives, and never lies."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h9s.errors import HistoryNotHeldError
from h9s.raft import history_archive
from h9s.raft.errors import ArchiveDamagedError
from h9s.raft.history_archive import SqliteArchive
from h9s.raft.history_blocks import decode, encode
from h9s.store.model import ALL_KEYS, Change, KeyRange, KeyValue, RevisionRecord
from h9s.store.past import Past
from tests.unit.store.histories import Told, histories, ranges
from tests.unit.store.test_state_machine import entry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history" / "history.db"


@pytest.fixture
def archive(path):
    opened = SqliteArchive(path, identity="c1")
    yield opened
    opened.close()


def record(revision, *, key="/core/Pod/a/x", value=b"v", author="admin/a"):
    before = KeyValue(key, value, 1, revision - 1) if revision > 1 else None
    change = Change(key, revision, KeyValue(key, value, 1, revision), before)
    return RevisionRecord(revision, 1000 * revision, (change,), author)


def records(first, last):
    return [record(revision) for revision in range(first, last + 1)]


@given(histories, st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_block_gives_back_its_revisions(script, compress):
    told = Told(script)
    if told.records:
        block = encode(told.records, compress=compress)
        assert list(decode(block)) == told.records
        assert list(decode(block, revisions={2, 5})) == [r for r in told.records if r.revision in (2, 5)]


@given(histories, ranges, st.sampled_from((1, 700, 100_000)), st.sampled_from((0, 3, 1000)), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_read_of_the_past_equals_a_replay_to_there(
    tmp_path, monkeypatch, script, keys, block_bytes, near, data
):
    monkeypatch.setattr(history_archive, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(history_archive, "_NEAR", near)
    told = Told(script)
    shutil.rmtree(tmp_path / "history", ignore_errors=True)
    archive = SqliteArchive(tmp_path / "history" / "history.db", identity="c1")
    try:
        archived = data.draw(st.integers(0, told.machine.revision))
        told.release(archive, archived=archived, released=data.draw(st.integers(0, archived)))
        floor = data.draw(st.integers(0, told.machine.revision))
        told.machine.apply(entry(compact_revision=floor))
        archive.prune(floor)
        told.check(Past(told.machine, archive), keys, data)
    finally:
        archive.close()


def test_what_was_appended_is_there_after_a_restart(path):
    first = SqliteArchive(path, identity="c1")
    first.append(records(1, 50))
    first.append(records(51, 60))
    first.close()
    second = SqliteArchive(path, identity="c1")
    assert (second.first_revision, second.last_revision) == (0, 60)
    assert second.records(ALL_KEYS, after=0, up_to=60) == records(1, 60)
    second.close()


def test_a_process_that_dies_in_the_middle_leaves_what_was_appended_before(path, archive, tmp_path):
    archive.append(records(1, 10))
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    survivor = SqliteArchive(copy / "history.db", identity="c1")
    assert survivor.records(ALL_KEYS, after=0, up_to=10) == records(1, 10)
    survivor.close()


def test_a_gap_makes_the_archive_begin_anew(archive):
    archive.append(records(1, 10))
    archive.append(records(15, 20))
    assert (archive.first_revision, archive.last_revision) == (14, 20)
    with pytest.raises(HistoryNotHeldError):
        archive.records(ALL_KEYS, after=9, up_to=20)
    assert archive.records(KeyRange.under("/core/"), after=14, up_to=20) == records(15, 20)


@pytest.mark.parametrize("kept", [0, 1, 7, 29, 30])
def test_what_is_above_a_revision_can_be_cut_off_and_written_again(archive, monkeypatch, kept):
    monkeypatch.setattr(history_archive, "_BLOCK_BYTES", 2500)
    archive.append(records(1, 30))
    archive.cut_after(kept)
    assert archive.last_revision == kept
    again = [record(revision, value=b"other") for revision in range(kept + 1, 35)]
    archive.append(again)
    assert archive.records(ALL_KEYS, after=0, up_to=34) == records(1, kept) + again


def test_cutting_below_everything_leaves_an_empty_archive(archive):
    archive.append(records(11, 20))
    archive.cut_after(5)
    assert (archive.first_revision, archive.last_revision) == (5, 5)


def test_what_is_pruned_makes_room(archive):
    rng = random.Random(1)
    for start in range(1, 2001, 200):
        archive.append(
            [record(revision, value=rng.randbytes(1000)) for revision in range(start, start + 200)]
        )
    full = archive.size_bytes
    archive.prune(1500)
    assert 1400 <= archive.first_revision <= 1500
    assert archive.size_bytes < full / 2
    assert [each.revision for each in archive.records(ALL_KEYS, after=1500, up_to=1510)] == [
        *range(1501, 1511)
    ]


def test_a_moment_is_found_in_the_middle_of_a_block(archive):
    archive.append(records(1, 20))
    archive.append(records(21, 40))
    assert [archive.revision_at(time_ms) for time_ms in (999, 1000, 25_500, 99_999)] == [0, 1, 25, 40]


def test_a_damaged_block_is_never_read_as_something_else(path, archive):
    archive.append(records(1, 10))
    with sqlite3.connect(path) as other:
        (data,) = other.execute("SELECT data FROM blocks").fetchone()
        for position in range(0, len(data), 7):
            flipped = bytearray(data)
            flipped[position] ^= 0x10
            other.execute("UPDATE blocks SET data = ?", (bytes(flipped),))
            other.commit()
            with pytest.raises(HistoryNotHeldError, match="checksum"):
                archive.records(ALL_KEYS, after=0, up_to=10)
    other.close()
    assert archive.is_damaged


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_file_that_is_no_archive_is_set_aside_or_filled(path, caplog, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        archive = SqliteArchive.open(path, identity="c1")
    assert archive.last_revision == 0
    archive.append(records(1, 3))
    archive.close()
    assert path.with_name("history.db.damaged").exists() == bool(content)
    assert ("set aside" in caplog.text) == bool(content)


def test_another_clusters_history_is_not_read(path):
    SqliteArchive(path, identity="c1").close()
    with pytest.raises(ArchiveDamagedError, match="cluster 'c1'"):
        SqliteArchive(path, identity="c2")
    opened = SqliteArchive.open(path, identity="c2")
    assert opened.last_revision == 0
    opened.close()


def test_a_full_disk_leaves_the_archive_as_it_was(archive):
    archive.append(records(1, 10))
    (pages,) = archive._writer.execute("PRAGMA page_count").fetchone()
    archive._writer.execute(f"PRAGMA max_page_count = {pages}")
    rng = random.Random(1)
    with pytest.raises(OSError, match="full"):
        archive.append([record(revision, value=rng.randbytes(10_000)) for revision in range(11, 100)])
    assert archive.last_revision == 10
    assert archive.records(ALL_KEYS, after=0, up_to=10) == records(1, 10)
    archive._writer.execute("PRAGMA max_page_count = 100000")
    archive.append(records(11, 12))
    assert archive.records(ALL_KEYS, after=0, up_to=12) == records(1, 12)


def test_it_is_read_while_it_is_written(archive):
    archive.append(records(1, 10))
    with archive._reading(0, 10) as connection:
        archive.append(records(11, 20))
        assert connection.execute("SELECT max(last) FROM blocks").fetchone() == (10,)
    assert len(archive.records(ALL_KEYS, after=0, up_to=20)) == 20


def test_what_was_cut_off_meanwhile_is_an_error_and_not_nothing(archive):
    archive.append(records(1, 20))
    archive.cut_after(10)
    for read in (archive.records, archive.values_before):
        with pytest.raises(HistoryNotHeldError, match="has 0 to 10"):
            read(ALL_KEYS, after=5, up_to=15)
