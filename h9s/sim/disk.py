"""Disks that forget what was not synced, as a power loss makes them, and that may fail or be slow."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _File:
    """`durable` survives a crash; of `unsynced` any prefix may."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: bytearray = field(default_factory=bytearray)
    reserved_bytes: int = 0


class SimDisk:
    """One replica's folder. Implements `h9s.raft.storage.Storage`; survives the replica's crashes.

    `on_sync` is told of every sync, so that whoever simulates time can let it take some.
    """

    def __init__(self, rng: random.Random, *, on_sync: Callable[[], None] = lambda: None) -> None:
        self._rng = rng
        self._on_sync = on_sync
        self._files: dict[str, _File] = {}
        self.syncs = 0
        #: The next sync fails and syncs nothing; so do all after it, until the power was lost.
        self.is_failing = False

    def names(self) -> list[str]:
        """See `Storage.names`."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """See `Storage.read`; reserved space reads as zeros."""
        file = self._files[name]
        content = bytes(file.durable + file.unsynced)
        return content + bytes(max(0, file.reserved_bytes - len(content)))

    def map(self, name: str) -> memoryview:
        """See `Storage.map`."""
        return memoryview(self.read(name))

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        return len(self.read(name))

    def create(self, name: str, *, preallocate_bytes: int) -> SimAppendFile:
        """See `Storage.create`."""
        if name in self._files:
            raise FileExistsError(name)
        self._files[name] = _File(reserved_bytes=preallocate_bytes)
        return SimAppendFile(self, self._files[name])

    def reopen(self, name: str, *, size_bytes: int, preallocate_bytes: int) -> SimAppendFile:
        """See `Storage.reopen`."""
        file = self._files[name]
        # What was reserved reads as zeros, and a record may well end in some.
        file.durable = (file.durable + file.unsynced)[:size_bytes].ljust(size_bytes, b"\0")
        file.unsynced = bytearray()
        file.reserved_bytes = preallocate_bytes
        return SimAppendFile(self, file)

    def rename(self, name: str, new_name: str) -> None:
        """See `Storage.rename`."""
        self._files[new_name] = self._files.pop(name)

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        del self._files[name]

    def crash(self) -> None:
        """Lose power: of what was not synced, some first bytes may have reached the disk."""
        self.is_failing = False
        for name in self.names():
            file = self._files[name]
            kept = self._rng.choice((0, len(file.unsynced), self._rng.randint(0, len(file.unsynced))))
            file.durable += file.unsynced[:kept]
            file.unsynced = bytearray()

    def damage(self, last_synced: Callable[[bytes], int]) -> str:
        """Turn one byte over that had been synced, of journal or snapshots; where. "": there is none.

        `last_synced` says of a file how much of it is known to be durable, for whoever reads it.
        """
        by_kind: dict[str, list[str]] = {}
        for name in self.names():
            if last_synced(bytes(self._files[name].durable)):
                by_kind.setdefault(name.partition("-")[0], []).append(name)
        if not by_kind:
            return ""
        name = self._rng.choice(by_kind[self._rng.choice(sorted(by_kind))])
        offset = self._rng.randrange(last_synced(bytes(self._files[name].durable)))
        self.flip(name, offset)
        return f"{name}, offset {offset}"

    def flip(self, name: str, offset: int) -> None:
        """Damage one byte of what is durable."""
        self._files[name].durable[offset] ^= 0xFF

    def synced(self) -> None:
        """Account for a sync that is about to happen. Raises OSError if it fails."""
        if self.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.syncs += 1
        self._on_sync()


class SimAppendFile:
    """Implements `h9s.raft.storage.AppendFile`."""

    def __init__(self, disk: SimDisk, file: _File) -> None:
        self._disk = disk
        self._file = file

    def append(self, data: bytes | memoryview) -> None:
        """See `AppendFile.append`."""
        self._file.unsynced += data

    def sync(self) -> None:
        """See `AppendFile.sync`."""
        self._disk.synced()
        self._file.durable += self._file.unsynced
        self._file.unsynced = bytearray()

    def close(self) -> None:
        """See `AppendFile.close`."""
