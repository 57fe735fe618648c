"""Snapshots on disk: whole or not at all, two at most, damage refused."""

from __future__ import annotations

import errno
import os
import random

import pytest

from h9s.raft import records
from h9s.raft.errors import JournalCorruptError, SnapshotCorruptError
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.sim.disk import SimDisk

PARTS = [b"header", b"a" * 1000, b""]
INFO = SnapshotInfo(last_index=7, last_term=3)


@pytest.fixture
def disk():
    return SimDisk(random.Random(0))


def files(disk):
    return SnapshotFiles(disk, identity="cluster")


def test_what_was_written_is_read_back(disk):
    files(disk).write(INFO, PARTS)
    disk.crash()
    reopened = files(disk)
    assert reopened.latest() == INFO
    assert list(reopened.parts(INFO)) == PARTS


def test_the_newest_two_are_kept(disk):
    kept = files(disk)
    for index in (5, 100, 20):
        kept.write(SnapshotInfo(index, 1), PARTS)
    kept.remove_old()
    assert [info.last_index for info in kept.infos()] == [20, 100]


def test_one_that_is_being_written_is_not_there_yet(disk):
    kept = files(disk)
    kept.write(INFO, PARTS)
    seen = []

    def parts():
        for part in PARTS:
            yield part
            seen.append(kept.latest())

    later = SnapshotInfo(9, 3)
    kept.write(later, parts())
    assert seen == [INFO] * len(PARTS)
    assert kept.latest() == later


def test_one_that_the_first_version_was_writing_when_the_power_failed_is_removed(disk):
    files(disk).write(INFO, PARTS)
    broken = disk.create(SnapshotInfo(9, 3).name, preallocate_bytes=0)
    mark = records.encode_record(records.NAMED_WHEN_WHOLE, 0, 0, b"")
    broken.append(disk.read(INFO.name).replace(mark, b"")[:-1])
    assert files(disk).latest() == INFO


def test_one_that_is_whole_but_not_synced_is_synced_before_it_counts(disk):
    files(disk).write(INFO, PARTS)
    unsynced = disk.create(SnapshotInfo(9, 3).name, preallocate_bytes=0)
    unsynced.append(disk.read(INFO.name))
    assert files(disk).latest() == SnapshotInfo(9, 3)
    disk.crash()
    assert list(files(disk).parts(SnapshotInfo(9, 3))) == PARTS


def test_a_flipped_byte_is_refused_with_file_and_offset(disk):
    files(disk).write(INFO, PARTS)
    disk.flip(INFO.name, 200)
    with pytest.raises(SnapshotCorruptError, match=rf"{INFO.name}: offset \d+"):
        list(files(disk).parts(INFO))


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.2])
def test_one_that_lost_its_end_is_refused(disk, kept):
    files(disk).write(INFO, PARTS)
    content = disk.read(INFO.name)
    disk._files[INFO.name].durable = bytearray(content[: int(kept * len(content))])
    with pytest.raises(SnapshotCorruptError, match=rf"{INFO.name}: offset \d+"):
        list(files(disk).parts(INFO))


def test_the_older_one_is_verified_too(disk):
    later = SnapshotInfo(9, 3)
    files(disk).write(INFO, PARTS)
    files(disk).write(later, PARTS)
    disk.flip(INFO.name, 200)
    files(disk).verify(but=INFO)
    with pytest.raises(SnapshotCorruptError, match=INFO.name):
        files(disk).verify(but=later)


def test_what_was_being_written_is_cleared_away(disk):
    disk.create(f"unfinished-0-{INFO.name}", preallocate_bytes=0).append(b"x")
    assert files(disk).latest() is None
    assert disk.names() == []


def test_another_clusters_snapshot_is_refused(disk):
    SnapshotFiles(disk, identity="elsewhere").write(INFO, PARTS)
    with pytest.raises(JournalCorruptError, match="belongs to 'elsewhere'"):
        list(files(disk).parts(INFO))


def test_a_file_of_another_replica_is_stored_as_it_came(disk):
    files(disk).write(INFO, PARTS)
    other = SimDisk(random.Random(1))
    files(other).store(INFO, files(disk).content(INFO))
    assert list(files(other).parts(INFO)) == PARTS


def test_one_that_there_is_no_space_for_leaves_nothing_behind(disk):
    kept = files(disk)
    kept.write(INFO, PARTS)

    def parts():
        yield PARTS[0]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        kept.write(SnapshotInfo(9, 3), parts())
    assert kept.infos() == [INFO]
    assert disk.names() == [INFO.name]
