"""Snapshots on disk: checksummed, complete or not at all, the newest two kept.

A file is a header, the parts and an end mark, all records as in the journal. One without its end mark was
being written when the process died and is removed; one with a damaged record is refused loudly.
Blocks; meant to be called off the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from h9s.raft import records
from h9s.raft.errors import SnapshotCorruptError
from h9s.raft.storage import Storage

_KEPT = 2
_PREFIX, _SUFFIX = "snapshot-", ".snap"


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

    def __init__(self, storage: Storage, *, identity: str) -> None:
        self._storage = storage
        self._identity = identity
        #: What another thread is writing: not there yet.
        self._unfinished: set[str] = set()
        for info in self.infos():
            content = storage.read(info.name)
            if records.ends_with(content, records.END):
                # What was read may have been in memory only; the log is going to rely on it.
                storage.reopen(info.name, size_bytes=len(content), preallocate_bytes=0).close()
            else:
                storage.remove(info.name)

    def infos(self) -> list[SnapshotInfo]:
        """All snapshots, oldest first."""
        names = [name for name in self._storage.names() if name.startswith(_PREFIX)]
        return [SnapshotInfo.of(name) for name in names if name not in self._unfinished]

    def latest(self) -> SnapshotInfo | None:
        """The newest snapshot."""
        infos = self.infos()
        return infos[-1] if infos else None

    def write(self, info: SnapshotInfo, parts: Iterable[bytes]) -> None:
        """Store a snapshot; it survives a power loss once this returns. Raises OSError."""
        self._write(info, self._encoded(parts))

    def store(self, info: SnapshotInfo, content: bytes) -> None:
        """Store a file that another replica sent."""
        self._write(info, (content,))

    def content(self, info: SnapshotInfo) -> bytes:
        """A whole file, for another replica."""
        return self._storage.read(info.name)

    def parts(self, info: SnapshotInfo) -> Iterator[bytes]:
        """The parts that were written. Raises SnapshotCorruptError."""
        return self.parts_of(self.content(info), name=info.name)

    def parts_of(self, content: bytes, *, name: str) -> Iterator[bytes]:
        """The parts in a file's content. Raises SnapshotCorruptError."""
        end = 0
        is_complete = False
        for record in records.decode_segment(content, identity=self._identity, name=name):
            end = record.end
            if record.kind == records.PART:
                yield record.payload
            is_complete = record.kind == records.END
        if not is_complete or end != len(content):
            raise SnapshotCorruptError(f"snapshot {name}: offset {end}: the record is damaged")

    def remove_old(self) -> None:
        """Keep the newest two."""
        for info in self.infos()[:-_KEPT]:
            self._storage.remove(info.name)

    def _encoded(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        yield records.encode_header(self._identity)
        for number, part in enumerate(parts):
            yield records.encode_record(records.PART, number, 0, part)
        yield records.encode_record(records.END, 0, 0, b"")

    def _write(self, info: SnapshotInfo, pieces: Iterable[bytes]) -> None:
        if info.name in self._storage.names():
            return
        self._unfinished.add(info.name)
        file = self._storage.create(info.name, preallocate_bytes=0)
        try:
            for piece in pieces:
                file.append(piece)
            file.sync()
        finally:
            file.close()
        self._unfinished.discard(info.name)
