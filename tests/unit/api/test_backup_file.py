"""Backups as files: whole or refused."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import backup_pb2
from h9s.api.backup_file import MAGIC, BackupReader, encode_frame
from h9s.errors import DamagedError, UnsupportedError


def records(*, items=3, format_version=1):
    header = backup_pb2.BackupHeader(format_version=format_version, cluster_id="c1", revision=9)
    made = [backup_pb2.BackupRecord(header=header)]
    for number in range(items):
        record = backup_pb2.BackupRecord()
        record.part.items.add(key=f"/a/{number}", value=b"v" * 20)
        made.append(record)
    trailer = backup_pb2.BackupTrailer(items=items)
    trailer.sha256 = hashlib.sha256(b"".join(record.SerializeToString() for record in made)).digest()
    return [*made, backup_pb2.BackupRecord(trailer=trailer)]


def file_of(made):
    return MAGIC + b"".join(encode_frame(record.SerializeToString()) for record in made)


def read(data):
    reader = BackupReader(io.BytesIO(data), name="b.h9s")
    found = list(reader)
    return found, reader.summary


def test_what_was_written_is_read_back():
    made = records()
    data = file_of(made)
    found, summary = read(data)
    assert found == made
    assert (summary.header.revision, summary.objects, summary.size_bytes) == (9, 3, len(data))


@given(st.data())
def test_no_damaged_or_shortened_file_passes(data):
    whole = file_of(records())
    position = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = bytearray(whole)
        broken[position] ^= data.draw(st.integers(1, 255))
    else:
        broken = bytearray(whole[:position])
    with pytest.raises(DamagedError, match=r"b\.h9s"):
        read(bytes(broken))


@pytest.mark.parametrize("order", [(0, 1, 2, 4), (0, 1, 3, 2, 4), (0, 1, 2, 3), (1, 0, 2, 3, 4), (0, 0, 4)])
def test_records_that_are_missing_or_in_another_order_are_noticed(order):
    made = records()
    with pytest.raises(DamagedError):
        read(file_of([made[position] for position in order]))


def test_nothing_may_follow_the_end():
    with pytest.raises(DamagedError, match="not in order"):
        read(file_of([*records(), records()[1]]))


def test_a_format_of_the_future_is_refused():
    with pytest.raises(UnsupportedError, match="format 2"):
        read(file_of(records(format_version=2)))
