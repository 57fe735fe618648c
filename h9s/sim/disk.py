"""Disks that forget what was not synced, as a power loss makes them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class _File:
    """`durable` survives a crash; of `unsynced` any prefix may."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: bytearray = field(default_factory=bytearray)
    reserved_bytes: int = 0


class SimDisk:
    """One replica's folder. Implements `h9s.raft.storage.Storage`; survives the replica's crashes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._files: dict[str, _File] = {}
        self.syncs = 0

    def names(self) -> list[str]:
        """See `Storage.names`."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """See `Storage.read`; reserved space reads as zeros."""
        file = self._files[name]
        content = bytes(file.durable + file.unsynced)
        return content + bytes(max(0, file.reserved_bytes - len(content)))

    def create(self, name: str, *, preallocate_bytes: int) -> SimAppendFile:
        """See `Storage.create`."""
        if name in self._files:
            raise FileExistsError(name)
        self._files[name] = _File(reserved_bytes=preallocate_bytes)
        return SimAppendFile(self, self._files[name])

    def reopen(self, name: str, *, size_bytes: int, preallocate_bytes: int) -> SimAppendFile:
        """See `Storage.reopen`."""
        file = self._files[name]
        file.durable = (file.durable + file.unsynced)[:size_bytes]
        file.unsynced = bytearray()
        file.reserved_bytes = preallocate_bytes
        return SimAppendFile(self, file)

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        del self._files[name]

    def crash(self) -> None:
        """Lose power: of what was not synced, some first bytes may have reached the disk."""
        for name in self.names():
            file = self._files[name]
            kept = self._rng.choice((0, 0, self._rng.randint(0, len(file.unsynced))))
            file.durable += file.unsynced[:kept]
            file.unsynced = bytearray()


class SimAppendFile:
    """Implements `h9s.raft.storage.AppendFile`."""

    def __init__(self, disk: SimDisk, file: _File) -> None:
        self._disk = disk
        self._file = file

    def append(self, data: bytes) -> None:
        """See `AppendFile.append`."""
        self._file.unsynced += data

    def sync(self) -> None:
        """See `AppendFile.sync`."""
        self._file.durable += self._file.unsynced
        self._file.unsynced = bytearray()
        self._disk.syncs += 1

    def close(self) -> None:
        """See `AppendFile.close`."""
