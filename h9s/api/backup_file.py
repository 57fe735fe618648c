"""A backup as a file: written by howbectl, read by `howbe-apiserver restore` and `verify`. No I/O but on
files that are handed in.

`H9SBACKUP1`, a newline, then records: length and CRC-32 (little-endian, 32 bits each), and a serialized
BackupRecord. The first is the header; the last is the trailer, which counts and hashes what is before it,
so that a file which was cut off, or put together from two, is noticed.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from google.protobuf.message import DecodeError

from h9s._pb import backup_pb2
from h9s.errors import DamagedError, UnsupportedError

FORMAT_VERSION = 1
MAGIC = b"H9SBACKUP1\n"

_FRAME = struct.Struct("<II")
_MAX_RECORD_BYTES = 64 << 20


class BackupSummary(NamedTuple):
    """What a whole backup holds."""

    header: backup_pb2.BackupHeader
    objects: int
    requests: int
    size_bytes: int


class BackupCheck:
    """Follows a backup record by record. Every method raises DamagedError where it is not whole,
    UnsupportedError for a format of the future; `name` is what those call it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._digest = hashlib.sha256()
        self._header: backup_pb2.BackupHeader | None = None
        self._objects = self._requests = 0
        self._is_whole = False
        self.size_bytes = len(MAGIC)

    def take(self, data: bytes) -> backup_pb2.BackupRecord:
        """The next record, decoded."""
        try:
            record = backup_pb2.BackupRecord.FromString(data)
        except DecodeError as error:
            raise self._fault(str(error)) from error
        kind = record.WhichOneof("body")
        if self._is_whole or (kind == "header") != (self._header is None):
            raise self._fault("its records are not in order")
        if record.HasField("header"):
            self._take_header(record.header)
        elif record.HasField("part"):
            self._objects += len(record.part.items)
            self._requests += len(record.part.requests)
        elif record.HasField("trailer"):
            self._take_trailer(record.trailer)
        self._digest.update(data)
        self.size_bytes += _FRAME.size + len(data)
        return record

    def finish(self) -> BackupSummary:
        """After the last record."""
        if self._header is None or not self._is_whole:
            raise self._fault("it ends too early")
        return BackupSummary(self._header, self._objects, self._requests, self.size_bytes)

    def _take_header(self, header: backup_pb2.BackupHeader) -> None:
        if header.format_version != FORMAT_VERSION:
            raise UnsupportedError(
                f"{self._name} has format {header.format_version}; {FORMAT_VERSION} is known here"
            )
        self._header = header

    def _take_trailer(self, trailer: backup_pb2.BackupTrailer) -> None:
        told = (trailer.items, trailer.requests, trailer.sha256)
        if told != (self._objects, self._requests, self._digest.digest()):
            raise self._fault("it does not hold what its end says it does")
        self._is_whole = True

    def _fault(self, what: str) -> DamagedError:
        return DamagedError(f"{self._name} is not a whole backup: offset {self.size_bytes}: {what}")


def encode_frame(record: bytes) -> bytes:
    """A record as it is in the file."""
    return _FRAME.pack(len(record), zlib.crc32(record)) + record


class BackupReader:
    """A file's records, verified. Iterating raises DamagedError, UnsupportedError, OSError."""

    def __init__(self, file: IO[bytes], *, name: str) -> None:
        self._file = file
        self._name = name
        self._check = BackupCheck(name)

    def __iter__(self) -> Iterator[backup_pb2.BackupRecord]:
        file, name, check = self._file, self._name, self._check
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedError(f"{name} is no backup of h9s")
        while frame := file.read(_FRAME.size):
            if len(frame) < _FRAME.size:
                raise DamagedError(f"{name}: offset {check.size_bytes}: the file was cut off")
            length, crc = _FRAME.unpack(frame)
            data = file.read(length) if length <= _MAX_RECORD_BYTES else b""
            if len(data) != length or zlib.crc32(data) != crc:
                raise DamagedError(f"{name}: offset {check.size_bytes}: the record is damaged")
            yield check.take(data)
        check.finish()

    @property
    def summary(self) -> BackupSummary:
        """What was in it, once all was read."""
        return self._check.finish()
