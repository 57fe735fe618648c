"""Files as the journal needs them: created durably, appended to, synced. The simulation has its own."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Protocol

from h9s.raft.metrics import SYNC_SECONDS


class AppendFile(Protocol):
    """A file that only grows. Any OSError means that its durable content is unknown."""

    def append(self, data: bytes | memoryview) -> None:
        """Write at the end; not durable until `sync`."""
        ...

    def sync(self) -> None:
        """Return once all that was appended survives a power loss."""
        ...

    def close(self) -> None:
        """Release it; syncs nothing."""
        ...


class Storage(Protocol):
    """A folder of files."""

    def names(self) -> list[str]:
        """All files, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """A file's whole content."""
        ...

    def map(self, name: str) -> memoryview:
        """A file's whole content, read when it is looked at. Stays as it is when the file is removed."""
        ...

    def size(self, name: str) -> int:
        """A file's size in bytes."""
        ...

    def create(self, name: str, *, preallocate_bytes: int) -> AppendFile:
        """Make an empty file whose name survives a power loss; what is preallocated reads as zeros."""
        ...

    def reopen(self, name: str, *, size_bytes: int, preallocate_bytes: int) -> AppendFile:
        """Open for appending after the first `size_bytes`; what was behind them is gone, durably."""
        ...

    def rename(self, name: str, new_name: str) -> None:
        """Give a synced file another name, durably."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, durably."""
        ...


class FileStorage:
    """A real folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that is lost takes along what was synced in it.
        _sync_folder(folder.parent)

    def names(self) -> list[str]:
        """See `Storage.names`."""
        return sorted(path.name for path in self._folder.iterdir() if path.is_file())

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""
        return (self._folder / name).read_bytes()

    def map(self, name: str) -> memoryview:
        """See `Storage.map`."""
        with (self._folder / name).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        return (self._folder / name).stat().st_size

    def create(self, name: str, *, preallocate_bytes: int) -> AppendFile:
        """See `Storage.create`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = _PreallocatedFile(os.open(self._folder / name, flags, 0o600), 0, preallocate_bytes)
        self._sync_names()
        return file

    def reopen(self, name: str, *, size_bytes: int, preallocate_bytes: int) -> AppendFile:
        """See `Storage.reopen`."""
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(descriptor, size_bytes)
        return _PreallocatedFile(descriptor, size_bytes, preallocate_bytes)

    def rename(self, name: str, new_name: str) -> None:
        """See `Storage.rename`."""
        (self._folder / name).rename(self._folder / new_name)
        self._sync_names()

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        (self._folder / name).unlink()
        self._sync_names()

    def _sync_names(self) -> None:
        _sync_folder(self._folder)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _PreallocatedFile:
    """Its space is reserved ahead, so that a sync rarely has to write the file's own metadata."""

    def __init__(self, descriptor: int, size_bytes: int, preallocate_bytes: int) -> None:
        self._descriptor = descriptor
        self._offset = size_bytes
        if preallocate_bytes > size_bytes:
            os.posix_fallocate(descriptor, size_bytes, preallocate_bytes - size_bytes)
        os.fsync(descriptor)

    def append(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self._offset)
            self._offset += written
            view = view[written:]

    def sync(self) -> None:
        with SYNC_SECONDS.time():
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
