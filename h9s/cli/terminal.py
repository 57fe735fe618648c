"""The user's own terminal: raw mode, its size, and reading what is typed without blocking.

Everything is given back as it was found, also on errors.
"""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 65536
_CHUNKS_AHEAD = 8


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Every key goes through as it is, Ctrl-C too."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def terminal_size(descriptor: int) -> tuple[int, int]:
    """(columns, rows)."""
    size = os.get_terminal_size(descriptor)
    return size.columns, size.lines


@contextmanager
def on_resize(changed: Callable[[], None]) -> Iterator[None]:
    """Call `changed` from the running loop whenever the window changes its size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def read_chunks(descriptor: int) -> asyncio.Queue[bytes]:
    """What can be read from a descriptor, chunk by chunk; b"" at its end.

    A thread reads, a few chunks ahead, since files and terminals alike must do and event loops cannot
    wait for files; it is left behind, blocked, when nobody types any more.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=_CHUNKS_AHEAD)

    def read() -> None:
        data = b"more"
        while data:
            try:
                data = os.read(descriptor, _CHUNK_BYTES)
            except OSError:
                data = b""
            handover = chunks.put(data)
            try:
                asyncio.run_coroutine_threadsafe(handover, loop).result()
            except RuntimeError:  # the loop is closed: nobody listens any more
                handover.close()
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return chunks
