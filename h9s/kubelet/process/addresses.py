"""An address of its own in 127.0.0.0/8 for each pod, unique on this machine.

The address follows from the pod's uid. A file per address, in a directory that all users share, keeps
two pods of different howbelets apart where that is not enough; it names its holder, and is free again
when the holder's directory is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h9s.kubelet.runtime import SandboxError

_MAX_TRIES = 1000


def candidates(pod_uid: str) -> Iterator[str]:
    """Addresses to try, in order: the same for the same pod. None in 127.0.0.0/16, where the machine's
    own names are, and none that ends in 0 or 255."""
    for number in range(_MAX_TRIES):
        digest = hashlib.sha256(f"{pod_uid}/{number}".encode()).digest()
        yield f"127.{digest[0] % 254 + 1}.{digest[1]}.{digest[2] % 254 + 1}"


class Addresses:
    """The addresses that pods of this machine hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reserve(self, pod_uid: str, holder: Path) -> str:
        """An address for the pod, until `release` or until the directory `holder` is gone; the one it
        holds already, if it does. Raises SandboxError."""
        try:
            with self._locked():
                for address in candidates(pod_uid):
                    if self._take(address, str(holder)):
                        return address
        except OSError as error:
            raise SandboxError(f"cannot reserve an address in {self._folder}: {error}") from error
        raise SandboxError(f"no free address for pod {pod_uid} in {self._folder}")

    def release(self, address: str, holder: Path) -> None:
        """Give an address back, if this holder has it."""
        path = self._folder / address
        if _holder_of(path) == str(holder):
            path.unlink(missing_ok=True)

    def _take(self, address: str, holder: str) -> bool:
        path = self._folder / address
        known = _holder_of(path)
        if known == holder:
            return True
        if known is not None and _may_be_alive(known):
            return False
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            # Another user's, who alone may clear it away.
            return False
        path.write_text(holder, encoding="utf-8")
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time on this machine, for as long as the block takes."""
        if not self._folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            # Everybody's howbelets share it, and nobody removes another's.
            self._folder.chmod(0o1777)
        lock = self._folder / ".lock"
        if not lock.exists():
            lock.touch(mode=0o644)
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _holder_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _may_be_alive(holder: str) -> bool:
    """Whether the directory is there; one that cannot be looked at counts as there."""
    try:
        os.stat(holder)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
