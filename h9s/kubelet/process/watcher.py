"""Tells at once when a process ends that is nobody's child here: a shim of any howbelet's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from h9s.kubelet.process import records


class ProcessWatcher:
    """Waits for the ends of processes through their file descriptors (pidfd). One event loop's."""

    def __init__(self) -> None:
        self._watched: dict[tuple[int, int], int] = {}

    def watch(self, record: dict[str, Any], on_end: Callable[[], None]) -> bool:
        """Call `on_end` when the process of a shim's record ends; False if it has ended already.
        Watching it a second time changes nothing."""
        key = (record["pid"], record["start_ticks"])
        if key in self._watched:
            return True
        try:
            descriptor = os.pidfd_open(record["pid"])
        except ProcessLookupError:
            return False
        # The number may have gone to another process before it was opened.
        if not records.is_alive(record):
            os.close(descriptor)
            return False

        def ended() -> None:
            self._forget(key)
            on_end()

        self._watched[key] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, ended)
        return True

    def close(self) -> None:
        """Watch nothing any more."""
        for key in list(self._watched):
            self._forget(key)

    def _forget(self, key: tuple[int, int]) -> None:
        descriptor = self._watched.pop(key)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
