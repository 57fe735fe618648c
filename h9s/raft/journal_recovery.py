"""What a journal's files hold, read without changing them: at every start, and by whoever examines them.

What a power loss leaves is told apart from damage by the marks in the file. Every batch begins with one
that says how far the file had been synced before, so whatever is unreadable in front of a mark had been
whole. Behind the last mark nothing can be told: a damaged record there is taken for one that was torn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from h9s.raft import records
from h9s.raft.errors import JournalCorruptError, JournalTailDamagedError
from h9s.raft.storage import Storage

#: The engine's command that changes nothing.
NO_OP = b"\x01"

#: A bound on what the record of a vote takes on disk.
_LONGEST_HARD_STATE = 256

_PREFIX, _SUFFIX = "journal-", ".log"
_MARK = b"H9SSYNCED"
#: Of a mark, behind `_MARK`: the size of the segment before; 0 if not at the segment's beginning.
_PREVIOUS_SIZE = struct.Struct("<Q")


class LogTuple(NamedTuple):
    """An entry in the shape that the engine expects."""

    command: bytes
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody needs
    term: int


class TornTail(NamedTuple):
    """What recovery cut off: written but never synced, so never acknowledged."""

    segment: str
    offset: int
    dropped_bytes: int


class Segment(NamedTuple):
    """One file: how much of it is valid, and the highest index of an entry in it."""

    name: str
    size_bytes: int
    last_index: int


@dataclass
class Replayed:
    """Everything that the files say."""

    entries: list[LogTuple] = field(default_factory=list)
    term: int = 0
    voted_for: str | None = None
    segments: list[Segment] = field(default_factory=list)
    torn: TornTail | None = None
    #: A last segment whose making was interrupted; to be removed.
    never_begun: str = ""
    #: An index that was known to be committed; later ones may have been too.
    commit_index: int = 0


def segment_name(number: int) -> str:
    """The name of the segment's file; sorts by number."""
    return f"{_PREFIX}{number:08d}{_SUFFIX}"


def segment_number(name: str) -> int:
    """The inverse of `segment_name`."""
    return int(name.removeprefix(_PREFIX).removesuffix(_SUFFIX))


def encode_mark(offset: int, *, commit_index: int, previous_size: int = 0) -> bytes:
    """All before `offset`, where this record is put, has been synced."""
    payload = _MARK + _PREVIOUS_SIZE.pack(previous_size)
    return records.encode_record(records.SYNCED, offset, commit_index, payload)


def vouched_bytes(data: bytes) -> int:
    """How much of a file's content is told to have been synced: up to a segment's last mark, all of a
    snapshot that has its end."""
    if records.ends_with(data, records.END):
        return len(data)
    last, at = 0, -1
    while (at := data.find(_MARK, at + 1)) >= 0:
        start = at - records.RECORD_BYTES
        record = records.record_at(data, start)
        if record is not None and record.kind == records.SYNCED and record.index == start:
            last = start
    return last


def replay(storage: Storage, *, identity: str) -> Replayed:
    """Read all segments.

    Raises JournalTailDamagedError where synced data in the last segment is damaged,
    JournalCorruptError where anything else is wrong, OSError.
    """
    found = Replayed()
    names = [name for name in storage.names() if name.startswith(_PREFIX)]
    if names and _was_never_begun(storage.read(names[-1]), identity):
        found.never_begun = names.pop()
    for before, after in pairwise(names):
        if segment_number(after) != segment_number(before) + 1:
            missing = segment_name(segment_number(before) + 1)
            raise JournalCorruptError(
                f"journal segment {missing} is missing: {after} does not continue the log of {before}"
            )
    for name in names:
        _replay_segment(found, storage.read(name), identity=identity, name=name, is_last=name == names[-1])
    return found


def _was_never_begun(data: bytes, identity: str) -> bool:
    """Power was lost while the segment was made: its first write was never synced."""
    header = len(records.encode_header(identity))
    if records.is_record(data, 0) or records.is_record(data, header):
        return False
    return len(data.rstrip(b"\0")) <= header + _LONGEST_HARD_STATE


def _replay_segment(found: Replayed, data: bytes, *, identity: str, name: str, is_last: bool) -> None:
    end = last_index = 0
    for record in records.decode_segment(data, identity=identity, name=f"journal segment {name}"):
        end = record.end
        if record.kind == records.ENTRY:
            _replay_entry(found, record, name)
            last_index = max(last_index, record.index)
        elif record.kind == records.HARD_STATE:
            found.term, found.voted_for = record.term, record.payload.decode() or None
        elif record.kind == records.SYNCED:
            _check_mark(found, record)
        elif record.kind == records.BASE:
            found.entries = [LogTuple(NO_OP, record.index, record.term)]
    found.segments.append(Segment(name, end, last_index))
    mark = _next_mark(data, end)
    if mark:
        kind = JournalTailDamagedError if is_last else JournalCorruptError
        raise kind(
            f"journal segment {name}: offset {end}: the record is damaged; "
            f"all before offset {mark} had been synced"
        )
    if len(data.rstrip(b"\0")) > end:
        if not is_last:
            raise JournalCorruptError(f"journal segment {name}: offset {end}: the record is damaged")
        found.torn = TornTail(name, end, len(data) - end)


def _check_mark(found: Replayed, mark: records.Record) -> None:
    """The marks also vouch for the end of the segment before."""
    found.commit_index = max(found.commit_index, mark.term)
    (size,) = _PREVIOUS_SIZE.unpack_from(mark.payload, len(_MARK))
    if size and found.segments and found.segments[-1].size_bytes < size:
        name, end, _ = found.segments[-1]
        raise JournalCorruptError(
            f"journal segment {name}: offset {end}: the record is damaged; the segment had {size} bytes"
        )


def _next_mark(data: bytes, offset: int) -> int:
    """Where the next mark behind `offset` is; 0 if there is none."""
    at = offset
    while (at := data.find(_MARK, at + 1)) >= 0:
        start = at - records.RECORD_BYTES
        record = records.record_at(data, start)
        if record is not None and record.kind == records.SYNCED and record.index == start:
            return start
    return 0


def _replay_entry(found: Replayed, record: records.Record, name: str) -> None:
    entries = found.entries
    if entries:
        position = record.index - entries[0].index
        if position > len(entries):
            raise JournalCorruptError(
                f"journal segment {name}: entry {record.index} does not continue the log"
            )
        # Below the first entry: it replaces what segments held that have been dropped since.
        del entries[max(position, 0) :]
    entries.append(LogTuple(record.payload, record.index, record.term))
