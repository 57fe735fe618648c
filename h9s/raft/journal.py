"""The log, the term and the vote, on disk. What the engine calls its journal.

Keeps invariants 1 and 2: nothing is vouched for before `sync`, and the log is cut only where an
entry of another term conflicts, never below what is committed. On disk it is append-only: an entry
whose index exists already replaces it and everything behind it.

The methods in camel case are the engine's interface; the engine's own truncations do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, overload

from h9s.raft import records
from h9s.raft.errors import JournalError, SafetyError
from h9s.raft.journal_recovery import NO_OP as _NO_OP
from h9s.raft.journal_recovery import LogTuple as LogTuple
from h9s.raft.journal_recovery import TornTail as TornTail
from h9s.raft.journal_recovery import encode_mark, replay, segment_name, segment_number
from h9s.raft.storage import AppendFile, Storage

DEFAULT_SEGMENT_BYTES = 64 << 20


class JournalObserver(Protocol):
    """Who is told how the log changes, after it was opened."""

    def appended(self, index: int, command: bytes) -> None:
        """An entry was added; it may not be on disk yet."""
        ...

    def cut(self, index: int) -> None:
        """The entries from `index` on were taken back."""
        ...


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
        #: The file does not end with a mark.
        self._is_unmarked = True
        self._segment_sizes: dict[str, int] = {}
        #: Bytes in all segments.
        self.size_bytes = 0
        self.observer: JournalObserver | None = None
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
        mark = self._mark() if self._is_unmarked else b""
        self._append(mark + b"".join(self._unwritten), sync=True)
        self._unwritten.clear()
        self._hard_state_is_dirty = False
        self._is_unmarked = True
        if self._segment_size >= self._segment_bytes:
            self._rotate()

    def close(self) -> None:
        """Release the files; syncs nothing."""
        self._file.close()

    def mark(self) -> None:
        """Note in the file that all of it has been synced: damage to the last batch is then told from what
        a power loss leaves. The mark itself needs no sync."""
        if self._is_unmarked and not self._unwritten:
            self._append(self._mark(), sync=False)
            self._is_unmarked = False

    def _mark(self) -> bytes:
        return encode_mark(self._segment_size, commit_index=self._commit_index)

    def _append(self, data: bytes, *, sync: bool) -> None:
        try:
            self._file.append(data)
            if sync:
                self._file.sync()
        except OSError as error:
            raise JournalError(f"the journal cannot be written: {error}") from error
        self._segment_size += len(data)
        self.size_bytes += len(data)

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
                if self.observer is not None:
                    self.observer.cut(index)
        self._entries.append(LogTuple(command, index, term))
        self._segment_last_index = max(self._segment_last_index, index)
        self._unwritten.append(records.encode_record(records.ENTRY, index, term, command))
        if self.observer is not None:
            self.observer.appended(index, command)

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
        self.close()

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
        name = segment_name(self._segment_number)
        data = records.encode_header(self._identity) + self._hard_state_record()
        previous = self._full_segments[-1][0] if self._full_segments else ""
        data += encode_mark(
            len(data), commit_index=self._commit_index, previous_size=self._segment_sizes.get(previous, 0)
        )
        try:
            file = self._storage.create(name, preallocate_bytes=self._segment_bytes)
            file.append(data)
            file.sync()
        except OSError as error:
            raise JournalError(f"journal segment {name} cannot be made: {error}") from error
        self._segment_size = len(data)
        self._is_unmarked = True
        self.size_bytes += len(data)
        return file

    def _rotate(self) -> None:
        self._file.close()
        self._close_segment(segment_name(self._segment_number))
        self._file = self._new_segment()

    def _close_segment(self, name: str) -> None:
        self._full_segments.append((name, self._segment_last_index))
        self._segment_sizes[name] = self._segment_size
        # What is rewritten later in another segment still counts for this one.
        self._segment_last_index = 0

    def _recover(self) -> AppendFile:
        found = replay(self._storage, identity=self._identity)
        if found.never_begun:
            self._storage.remove(found.never_begun)
        self._entries, self._term, self._voted_for = found.entries, found.term, found.voted_for
        for segment in found.segments:
            self.size_bytes += segment.size_bytes
            self._segment_size, self._segment_last_index = segment.size_bytes, segment.last_index
            if segment is not found.segments[-1]:
                self._close_segment(segment.name)
        if found.torn is not None:
            self._on_torn_tail(found.torn)
        if not found.segments:
            return self._new_segment()
        last = found.segments[-1].name
        self._segment_number = segment_number(last)
        return self._storage.reopen(
            last, size_bytes=self._segment_size, preallocate_bytes=self._segment_bytes
        )
