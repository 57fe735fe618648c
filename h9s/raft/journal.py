"""The log, the term and the vote, on disk. What the engine calls its journal.

Keeps invariants 1 and 2: nothing is vouched for before `sync`, and the log is cut only where an
entry of another term conflicts, never below what is committed. On disk it is append-only: an entry
whose index exists already replaces it and everything behind it.

The methods in camel case are the engine's interface; the engine's own truncations do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, overload

from h9s.raft import records
from h9s.raft.errors import JournalCorruptError, JournalError, SafetyError
from h9s.raft.storage import AppendFile, Storage

DEFAULT_SEGMENT_BYTES = 64 << 20

#: A bound on what the record of a vote takes on disk.
_LONGEST_HARD_STATE = 256


#: The engine's command that changes nothing.
_NO_OP = b"\x01"


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


class Journal:
    """One replica's journal. Opening it recovers what is there.

    `identity` names cluster and replica; a journal of another one is refused with
    JournalCorruptError. Every OSError becomes a JournalError, after which it must not be used.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        identity: str,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        on_torn_tail: Callable[[TornTail], None] = lambda torn: None,
    ) -> None:
        self._storage = storage
        self._identity = identity
        self._segment_bytes = segment_bytes
        self._on_torn_tail = on_torn_tail
        self._entries: list[LogTuple] = []
        self._term = 0
        self._voted_for: str | None = None
        self._commit_index = 0
        self._unwritten: list[bytes] = []
        self._hard_state_is_dirty = False
        self._segment_number = 0
        self._segment_size = 0
        #: Earlier segments: name, and the highest index of an entry in it.
        self._full_segments: list[tuple[str, int]] = []
        self._segment_last_index = 0
        self._segment_sizes: dict[str, int] = {}
        #: Bytes in all segments.
        self.size_bytes = 0
        try:
            self._file = self._recover()
        except OSError as error:
            raise JournalError(f"the journal cannot be read: {error}") from error

    # --- what h9s uses -----------------------------------------------------------------------

    @property
    def hard_state_is_dirty(self) -> bool:
        """The term or the vote is not durable yet: no message may show it."""
        return self._hard_state_is_dirty

    @property
    def commit_index(self) -> int:
        """The highest index known to be committed since the start; entries up to it are never cut."""
        return self._commit_index

    def sync(self) -> None:
        """Return once everything so far survives a power loss; at no cost if it does already."""
        if not self._unwritten:
            return
        data = b"".join(self._unwritten)
        try:
            self._file.append(data)
            self._file.sync()
        except OSError as error:
            raise JournalError(f"the journal cannot be written: {error}") from error
        self._unwritten.clear()
        self._hard_state_is_dirty = False
        self._segment_size += len(data)
        self.size_bytes += len(data)
        if self._segment_size >= self._segment_bytes:
            self._rotate()

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`, or None if it is not in the log."""
        position = index - self._entries[0].index
        return self._entries[position].term if 0 <= position < len(self._entries) else None

    def first_index_of_term_at(self, index: int) -> int:
        """The first index of the run of equal terms that `index` is in (what a conflict is answered with)."""
        first = self._entries[0].index
        position = index - first
        term = self._entries[position].term
        while position > 0 and self._entries[position - 1].term == term:
            position -= 1
        return first + position

    def start_at(self, index: int, term: int) -> None:
        """A snapshot holds everything up to `index`, which had `term`: the log begins there.

        What follows is kept where it continues the snapshot, and dropped where it contradicts it.
        """
        boundary = LogTuple(_NO_OP, index, term)
        if self._entries and self.term_at(index) == term:
            self._forget_before(index)
            self._entries[0] = boundary
        elif self._entries and self._entries[0].index == index + 1:
            self._entries.insert(0, boundary)
        else:
            self._entries = [boundary]
            self._unwritten.append(records.encode_record(records.BASE, index, term, b""))
            self.sync()
        self._commit_index = max(self._commit_index, index)

    def compact(self, index: int) -> None:
        """Drop what is before `index`, from memory, and from disk as far as whole segments go.

        Only after a snapshot that holds it survives a power loss.
        """
        if not self._entries or index <= self._entries[0].index:
            return
        self._forget_before(index)
        while self._full_segments and self._full_segments[0][1] <= index:
            name, _ = self._full_segments.pop(0)
            try:
                self.size_bytes -= self._segment_sizes.pop(name)
                self._storage.remove(name)
            except OSError as error:
                raise JournalError(f"journal segment {name} cannot be removed: {error}") from error

    def _forget_before(self, index: int) -> None:
        del self._entries[: index - self._entries[0].index]

    # --- what the engine uses ----------------------------------------------------------------

    def add(self, command: bytes, index: int, term: int) -> None:  # noqa: D102
        if self._entries:
            position = index - self._entries[0].index
            if position < 0 or position > len(self._entries):
                raise SafetyError(f"entry {index} does not continue the log, which ends at {self[-1].index}")
            if position < len(self._entries):
                if self._entries[position].term == term:
                    return
                if index <= self._commit_index:
                    raise SafetyError(f"the committed entry {index} is about to be overwritten")
                del self._entries[position:]
        self._entries.append(LogTuple(command, index, term))
        self._segment_last_index = max(self._segment_last_index, index)
        self._unwritten.append(records.encode_record(records.ENTRY, index, term, command))

    def deleteEntriesFrom(self, position: int) -> None:  # noqa: D102
        # The engine cuts whenever entries overlap, even where they match; `add` cuts on conflict.
        pass

    def deleteEntriesTo(self, position: int) -> None:  # noqa: ARG002, D102
        raise SafetyError("the engine tried to drop the beginning of the log")

    def clear(self) -> None:  # noqa: D102
        raise SafetyError("the engine tried to drop the log")

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: D102
        # Called after a majority was counted and before anything is applied: the leader's own copy
        # counts only from here on.
        self.sync()
        self._commit_index = max(self._commit_index, index)

    def getRaftCommitIndex(self) -> int:  # noqa: D102
        # Learned anew from the leader after a restart, as in the paper.
        return self._entries[0].index

    def setCurrentTerm(self, term: int, voted_for: str | None) -> None:  # noqa: D102
        if term < self._term:
            raise SafetyError(f"the term went back from {self._term} to {term}")
        self._term, self._voted_for = term, voted_for
        self._unwritten.append(self._hard_state_record())
        self._hard_state_is_dirty = True

    def getCurrentTerm(self) -> int:  # noqa: D102
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: D102
        return self._voted_for

    def onOneSecondTimer(self) -> None:  # noqa: D102
        pass

    def _destroy(self) -> None:
        self._file.close()

    @overload
    def __getitem__(self, item: int) -> LogTuple: ...

    @overload
    def __getitem__(self, item: slice) -> list[LogTuple]: ...

    def __getitem__(self, item: int | slice) -> LogTuple | list[LogTuple]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LogTuple]:
        return iter(self._entries)

    # --- segments ----------------------------------------------------------------------------

    def _hard_state_record(self) -> bytes:
        return records.encode_record(records.HARD_STATE, 0, self._term, (self._voted_for or "").encode())

    def _new_segment(self) -> AppendFile:
        """A segment starts with the hard state, so that all earlier ones can be dropped one day."""
        self._segment_number += 1
        name = _segment_name(self._segment_number)
        data = records.encode_header(self._identity) + self._hard_state_record()
        try:
            file = self._storage.create(name, preallocate_bytes=self._segment_bytes)
            file.append(data)
            file.sync()
        except OSError as error:
            raise JournalError(f"journal segment {name} cannot be made: {error}") from error
        self._segment_size = len(data)
        self.size_bytes += len(data)
        return file

    def _rotate(self) -> None:
        self._file.close()
        self._close_segment(_segment_name(self._segment_number))
        self._file = self._new_segment()

    def _close_segment(self, name: str) -> None:
        self._full_segments.append((name, self._segment_last_index))
        self._segment_sizes[name] = self._segment_size
        # What is rewritten later in another segment still counts for this one.
        self._segment_last_index = 0

    def _recover(self) -> AppendFile:
        names = [name for name in self._storage.names() if name.startswith("journal-")]
        if names and self._was_never_begun(names[-1]):
            self._storage.remove(names.pop())
        for name in names:
            self._segment_size = self._replay(name, is_last=name == names[-1])
            self.size_bytes += self._segment_size
            if name != names[-1]:
                self._close_segment(name)
        if not names:
            return self._new_segment()
        self._segment_number = int(names[-1].removeprefix("journal-").removesuffix(".log"))
        return self._storage.reopen(
            names[-1], size_bytes=self._segment_size, preallocate_bytes=self._segment_bytes
        )

    def _was_never_begun(self, name: str) -> bool:
        """Power was lost while the segment was made: its first write was never synced."""
        data = self._storage.read(name)
        header = len(records.encode_header(self._identity))
        if records.is_record(data, 0) or records.is_record(data, header):
            return False
        return not any(memoryview(data)[header + _LONGEST_HARD_STATE :])

    def _replay(self, name: str, *, is_last: bool) -> int:
        """Take a segment's records over; return where its valid part ends."""
        data = self._storage.read(name)
        end = 0
        for record in records.decode_segment(data, identity=self._identity, name=name):
            end = record.end
            if record.kind == records.HARD_STATE:
                self._term, self._voted_for = record.term, record.payload.decode() or None
            elif record.kind == records.ENTRY:
                self._replay_entry(record, name)
            elif record.kind == records.BASE:
                self._entries = [LogTuple(_NO_OP, record.index, record.term)]
        if not records.is_blank(data, end):
            if not is_last:
                raise JournalCorruptError(f"journal segment {name}: offset {end}: the record is damaged")
            self._on_torn_tail(TornTail(name, end, len(data) - end))
        return end

    def _replay_entry(self, record: records.Record, name: str) -> None:
        if self._entries:
            position = record.index - self._entries[0].index
            if position > len(self._entries):
                raise JournalCorruptError(
                    f"journal segment {name}: entry {record.index} does not continue the log"
                )
            # Below the first entry: it replaces what segments held that have been dropped since.
            del self._entries[max(position, 0) :]
        self._entries.append(LogTuple(record.payload, record.index, record.term))
        self._segment_last_index = max(self._segment_last_index, record.index)


def _segment_name(number: int) -> str:
    return f"journal-{number:08d}.log"
