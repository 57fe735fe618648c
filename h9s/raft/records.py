"""The journal's format on disk: segments of checksummed records.

A segment is a header followed by records. Both start with their length and a CRC-32 of the rest, in
little-endian order; a kind of 0 (space that was reserved and never written) ends the segment.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from h9s.raft.errors import JournalCorruptError

MAGIC = b"H9SJ"
FORMAT_VERSION = 1

ENTRY = 1
#: `term` is the current term, the payload the id of the replica that got this replica's vote.
HARD_STATE = 2
_HEADER_KIND = 3
#: The log begins here: everything up to `index`, which had `term`, is in a snapshot.
BASE = 4
#: Of a snapshot.
PART = 5
END = 6
#: Of a snapshot: who took part. Before the parts; the version before passes over it.
CONFIGURATION = 7
#: In a journal: all before this record, which is at the offset `index`, has been synced; entries up to
#: `term` were known to be committed. Skipped by versions that do not know it, like the next.
SYNCED = 10
#: In a snapshot, first: the file got its name when it was whole, so without its end mark it is damaged.
NAMED_WHEN_WHOLE = 11

#: payload length, CRC-32 of what follows it, kind, index, term
_RECORD = struct.Struct("<IIBQQ")
#: What a record takes besides its payload.
RECORD_BYTES = _RECORD.size
_CHECKED = struct.Struct("<BQQ")
_CHECKED_OFFSET = 8


#: What records are read from.
Content: TypeAlias = bytes | memoryview


class Record(NamedTuple):
    """One decoded record and the offset of its end in the segment."""

    kind: int
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody needs
    term: int
    payload: bytes
    end: int


def encode_record(kind: int, index: int, term: int, payload: bytes) -> bytes:
    """A record's bytes."""
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, index, term)))
    return _RECORD.pack(len(payload), crc, kind, index, term) + payload


def encode_header(identity: str) -> bytes:
    """A segment's first bytes. `identity` names the cluster and the replica that may read it."""
    return encode_record(_HEADER_KIND, FORMAT_VERSION, 0, MAGIC + identity.encode())


def decode_segment(data: Content, *, identity: str, name: str) -> Iterator[Record]:
    """The valid records, up to the end or the first that is damaged; the consumer sees by the last
    record's `end` which of the two it was.

    Raises JournalCorruptError if the header is not this replica's.
    """
    header = record_at(data, 0)
    if header is None or header.kind != _HEADER_KIND or not header.payload.startswith(MAGIC):
        raise JournalCorruptError(f"{name}: offset 0: the header is damaged")
    if header.index != FORMAT_VERSION:
        raise JournalCorruptError(f"{name}: format {header.index} is not known here")
    owner = header.payload[len(MAGIC) :].decode()
    if owner != identity:
        raise JournalCorruptError(f"{name} belongs to {owner!r}, not to {identity!r}")
    yield header
    offset = header.end
    while (record := record_at(data, offset)) is not None:
        yield record
        offset = record.end


def is_record(data: Content, offset: int) -> bool:
    """Whether there is a valid record at `offset`."""
    return record_at(data, offset) is not None


def ends_with(data: Content, kind: int) -> bool:
    """Whether the last record, which has no payload, is of this kind."""
    record = record_at(data, len(data) - _RECORD.size) if len(data) > _RECORD.size else None
    return record is not None and record.kind == kind


def is_blank(data: Content, offset: int) -> bool:
    """Whether nothing was ever written from `offset` on."""
    return not any(memoryview(data)[offset : offset + _RECORD.size])


def record_at(data: Content, offset: int) -> Record | None:
    """The valid record that begins at `offset`, if there is one."""
    if offset < 0 or offset + _RECORD.size > len(data):
        return None
    length, crc, kind, index, term = _RECORD.unpack_from(data, offset)
    end = offset + _RECORD.size + length
    if kind == 0 or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[offset + _CHECKED_OFFSET : end]) != crc:
        return None
    return Record(kind, index, term, bytes(data[offset + _RECORD.size : end]), end)
