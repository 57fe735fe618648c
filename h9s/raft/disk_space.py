"""Keeps a disk from filling up: below a reserve of free space nothing is written that adds data.

A journal that cannot be written ends the replica; a refused write ends nothing. The reserve is what
deletes, upkeep and the next snapshot still need.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from h9s._pb import log_pb2
from h9s.errors import DiskFullError
from h9s.store.protocol import View

log = logging.getLogger(__name__)

#: Free space has to grow to so many times the reserve before writes are taken again.
_HYSTERESIS = 1.25
#: What an update may add while space is short: enough to mark an object for deletion, to renew a lease,
#: or to report a condition.
_UPKEEP_BYTES = 512

#: Seconds between two measurements: what may be written meanwhile has to fit into the reserve.
_INTERVAL = 1.0

_MIB = 1 << 20


class DiskSpace:
    """The space on one replica's disk, measured at most once a second."""

    def __init__(
        self, *, free_bytes: Callable[[], int], reserve_bytes: int, monotonic: Callable[[], float]
    ) -> None:
        self._measured_free_bytes = free_bytes
        self._monotonic = monotonic
        self._measured_at = 0.0
        self.reserve_bytes = reserve_bytes
        self.free_bytes = 0
        #: Less is free than the reserve, or was and not enough came back.
        self.is_short = False
        self._measure()

    def look(self) -> None:
        """Measure again if the last time was long ago."""
        if self._monotonic() - self._measured_at >= _INTERVAL:
            self._measure()

    def _measure(self) -> None:
        self._measured_at = self._monotonic()
        try:
            self.free_bytes = self._measured_free_bytes()
        except OSError as error:
            log.error("how much disk is free cannot be found out, it is taken for full: %s", error)
            self.free_bytes = 0
        needed = self.reserve_bytes * (_HYSTERESIS if self.is_short else 1.0)
        is_short = self.free_bytes < needed
        if is_short and not self.is_short:
            log.error("%s: writes that add data are refused here from now on", self.explanation)
        elif self.is_short and not is_short:
            log.info("%d MiB of disk are free again: all writes are taken", self.free_bytes // _MIB)
        self.is_short = is_short

    @property
    def explanation(self) -> str:
        """How much is left."""
        return (
            f"only {self.free_bytes // _MIB} MiB of disk are free, and {self.reserve_bytes // _MIB} MiB are "
            "kept in reserve (diskReserveBytes)"
        )

    def refusal(
        self, transaction: log_pb2.Transaction, view: View, *, replica_id: str
    ) -> DiskFullError | None:
        """Why the transaction is not taken now, if so."""
        self.look()
        if not self.is_short or not adds_data(transaction, view):
            return None
        return DiskFullError(
            f"the disk of replica {replica_id}, which leads, is nearly full: {self.explanation}; "
            "make room there; reads and deletes still work"
        )


def adds_data(transaction: log_pb2.Transaction, view: View) -> bool:
    """Whether it makes an object, or makes one noticeably larger."""
    growth = 0
    for mutation in transaction.mutations:
        existing = view.get(mutation.key)
        if mutation.HasField("value"):
            if existing is None:
                return True
            growth += len(mutation.value)
        if existing is not None:
            growth -= len(existing.value)
    return growth > _UPKEEP_BYTES


def free_bytes_of(folder: Path) -> int:
    """What an ordinary process may still write on the folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
