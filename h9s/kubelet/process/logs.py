"""Reading what a shim has written of a container's output, and following it."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from h9s.kubelet.runtime import LogOptions

#: How often to look for more while following.
_POLL_SECONDS = 0.1


class LineFormatter:
    """One line of a log file after the other, as the reader wants it."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        #: Streams of which the last line is not complete yet.
        self._unfinished: set[bytes] = set()

    def format(self, line: bytes) -> bytes | None:
        """None if it is too old. A part of a line (P) goes without the line's end, and what goes on with
        it without a time of its own."""
        moment, _, rest = line.rstrip(b"\n").partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        begins = stream not in self._unfinished
        (self._unfinished.add if tag == b"P" else self._unfinished.discard)(stream)
        if self._options.since is not None and _seconds(moment) < self._options.since:
            return None
        ended = text if tag == b"P" else text + b"\n"
        return moment + b" " + ended if self._options.timestamps and begins else ended


async def read_log(directory: Path, options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The output kept in a container's directory. Following ends when the container has ended and all
    is read, or when the directory is gone."""
    formatter = LineFormatter(options)
    with _LogReader(directory) as reader:
        kept = _formatted(reader.new_lines(), formatter)
        for piece in kept if options.tail_lines is None else deque(kept, maxlen=options.tail_lines):
            yield piece
        while options.follow:
            has_ended = reader.has_ended()
            for piece in _formatted(reader.new_lines(), formatter):
                yield piece
            if has_ended:
                return
            await asyncio.sleep(_POLL_SECONDS)


def _formatted(lines: Iterable[bytes], formatter: LineFormatter) -> Iterator[bytes]:
    for line in lines:
        piece = formatter.format(line)
        if piece is not None:
            yield piece


class _LogReader:
    """Reads the older file and then the newer one, and goes on in the next when the shim starts one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: BinaryIO | None = None

    def __enter__(self) -> _LogReader:
        self._file = self._open("log.1") or self._open("log")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def new_lines(self) -> Iterator[bytes]:
        """Every whole line that was not read yet."""
        while True:
            if self._file is None:
                self._file = self._open("log")
            if self._file is None:
                return
            # Asked before reading: what is written to the old file afterwards is nothing.
            is_old = self._is_old(self._file)
            while (line := self._file.readline()).endswith(b"\n"):
                yield line
            if not is_old:
                # The shim is in the middle of this one.
                self._file.seek(-len(line), 1)
                return
            self._file.close()
            self._file = None

    def has_ended(self) -> bool:
        """Whether nothing more will be written."""
        return (self._directory / "exit.json").exists() or not self._directory.exists()

    def _open(self, name: str) -> BinaryIO | None:
        try:
            return (self._directory / name).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_old(self, file: BinaryIO) -> bool:
        try:
            return (self._directory / "log").stat().st_ino != os.fstat(file.fileno()).st_ino
        except (FileNotFoundError, NotADirectoryError):
            return False


def _seconds(moment: bytes) -> float:
    whole, _, rest = moment.decode("ascii").rstrip("Z").partition(".")
    parsed = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
    return parsed.timestamp() + float(f"0.{rest}")
