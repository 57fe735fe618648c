"""Snapshots on disk: checksummed, complete or not at all, the newest two kept.

A file is a header, the parts and an end mark, all records as in the journal. It gets its name when it is
whole and synced, so one with a damaged record, or without its end, is refused loudly. Files of the first
version had their names from the beginning: one of those that has no end was being written when the
process died, and is removed. Blocks; meant to be called off the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from h9s.raft import records
from h9s.raft.errors import SnapshotCorruptError
from h9s.raft.storage import AppendFile, Storage

_KEPT = 2
#: Written between two syncs: a long sync would make those of the journal wait.
_SYNC_BYTES = 1 << 20
_PREFIX, _SUFFIX = "snapshot-", ".snap"
#: While it is being written.
_UNFINISHED = "unfinished-"


class SnapshotInfo(NamedTuple):
    """A snapshot of the state after the entry `last_index`, which had `last_term`."""

    last_index: int
    last_term: int

    @property
    def name(self) -> str:
        """The file's name; sorts by index."""
        return f"{_PREFIX}{self.last_index:020d}-{self.last_term:010d}{_SUFFIX}"

    @classmethod
    def of(cls, name: str) -> SnapshotInfo:
        """The inverse of `name`."""
        index, term = name.removeprefix(_PREFIX).removesuffix(_SUFFIX).split("-")
        return cls(int(index), int(term))


class SnapshotFiles:
    """The snapshots in one replica's folder. `identity` names the cluster: replicas exchange files."""

    def __init__(self, storage: Storage, *, identity: str, examine_only: bool = False) -> None:
        """With `examine_only` nothing in the folder is changed."""
        self._storage = storage
        self._identity = identity
        self._numbers = count()
        if not examine_only:
            self._recover()

    def _recover(self) -> None:
        storage = self._storage
        for name in storage.names():
            if name.startswith(_UNFINISHED):
                storage.remove(name)
        for info in self.infos():
            content = storage.map(info.name)
            if _was_cut_short(content):
                storage.remove(info.name)
            else:
                # What was read may have been in memory only; the log is going to rely on it.
                storage.reopen(info.name, size_bytes=len(content), preallocate_bytes=0).close()

    def verify(self, *, but: SnapshotInfo | None = None) -> None:
        """Read every snapshot, except `but`. Raises SnapshotCorruptError, JournalCorruptError."""
        for info in self.infos():
            if info != but:
                for _ in self.parts(info):
                    pass

    def infos(self) -> list[SnapshotInfo]:
        """All snapshots, oldest first."""
        names = [name for name in self._storage.names() if name.startswith(_PREFIX)]
        return [SnapshotInfo.of(name) for name in names]

    def size_bytes(self) -> int:
        """All of them together."""
        return sum(self._storage.size(info.name) for info in self.infos())

    def latest(self) -> SnapshotInfo | None:
        """The newest snapshot."""
        infos = self.infos()
        return infos[-1] if infos else None

    def write(self, info: SnapshotInfo, parts: Iterable[bytes], *, configuration: bytes = b"") -> None:
        """Store a snapshot; it survives a power loss once this returns. Raises OSError.

        `configuration`: who took part then, if that had ever been changed.
        """
        self._write(info, self._encoded(parts, configuration))

    def store(self, info: SnapshotInfo, content: memoryview) -> None:
        """Store a file that another replica sent."""
        steps = range(0, len(content), _SYNC_BYTES)
        self._write(info, (content[start : start + _SYNC_BYTES] for start in steps))

    def content(self, info: SnapshotInfo) -> memoryview:
        """A whole file, for another replica. Valid also after the file was removed."""
        return self._storage.map(info.name)

    def parts(self, info: SnapshotInfo) -> Iterator[bytes]:
        """The parts that were written. Raises SnapshotCorruptError."""
        return self.parts_of(self.content(info), name=info.name)

    def parts_of(self, content: records.Content, *, name: str) -> Iterator[bytes]:
        """The parts in a file's content. Raises SnapshotCorruptError."""
        end = 0
        is_complete = False
        for record in records.decode_segment(content, identity=self._identity, name=f"snapshot {name}"):
            end = record.end
            if record.kind == records.PART:
                yield record.payload
            is_complete = record.kind == records.END
        if not is_complete or end != len(content):
            raise SnapshotCorruptError(f"snapshot {name}: offset {end}: the record is damaged")

    def configuration_of(self, content: records.Content, *, name: str) -> bytes:
        """The configuration in a file's content; empty if it has none."""
        for record in records.decode_segment(content, identity=self._identity, name=name):
            if record.kind == records.CONFIGURATION:
                return record.payload
            if record.kind == records.PART:
                break
        return b""

    def remove_old(self) -> None:
        """Keep the newest two."""
        for info in self.infos()[:-_KEPT]:
            self._storage.remove(info.name)

    def _encoded(self, parts: Iterable[bytes], configuration: bytes) -> Iterator[bytes]:
        yield records.encode_header(self._identity)
        yield records.encode_record(records.NAMED_WHEN_WHOLE, 0, 0, b"")
        if configuration:
            yield records.encode_record(records.CONFIGURATION, 0, 0, configuration)
        for number, part in enumerate(parts):
            yield records.encode_record(records.PART, number, 0, part)
        yield records.encode_record(records.END, 0, 0, b"")

    def _write(self, info: SnapshotInfo, pieces: Iterable[records.Content]) -> None:
        if info.name in self._storage.names():
            return
        unfinished = f"{_UNFINISHED}{next(self._numbers)}-{info.name}"
        file = self._storage.create(unfinished, preallocate_bytes=0)
        try:
            _append(file, pieces)
        except OSError:
            self._storage.remove(unfinished)
            raise
        finally:
            file.close()
        self._storage.rename(unfinished, info.name)


def _append(file: AppendFile, pieces: Iterable[records.Content]) -> None:
    """All pieces, synced."""
    unsynced = 0
    for piece in pieces:
        file.append(piece)
        unsynced += len(piece)
        if unsynced >= _SYNC_BYTES:
            file.sync()
            unsynced = 0
    file.sync()


def _was_cut_short(content: records.Content) -> bool:
    """It has no end, and was given its name before it had one."""
    if records.ends_with(content, records.END):
        return False
    header = records.record_at(content, 0)
    second = records.record_at(content, header.end) if header is not None else None
    return second is None or second.kind != records.NAMED_WHEN_WHOLE
