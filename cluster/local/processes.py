"""Processes that outlive the one that started them, and that are never mistaken for another.

A process is known by its pid and the moment it started, which are kept in a file: a pid alone may
by now belong to somebody else. Nothing here knows what the processes do.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from h9s.clock import SystemClock

_LOG_LIMIT_BYTES = 16 << 20
_CLOCK = SystemClock()


@dataclass(frozen=True)
class ProcessRecord:
    """One run of a process. `start_ticks` is field 22 of /proc/PID/stat; `boot_id` tells reboots apart."""

    pid: int
    start_ticks: int
    boot_id: str

    def is_alive(self) -> bool:
        """Whether exactly this process runs (a zombie does not)."""
        _reap(self.pid)
        return _start_ticks(self.pid) == self.start_ticks and _boot_id() == self.boot_id

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; whether it was there to get it."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end; whether it ended."""
        deadline = _CLOCK.monotonic() + timeout
        while self.is_alive():
            if _CLOCK.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def stop(self, *, grace: float) -> bool:
        """End it politely, after `grace` seconds by force; whether it ended politely."""
        if not self.signal(signal.SIGTERM):
            return True
        # A stopped process gets SIGTERM only once it goes on.
        self.signal(signal.SIGCONT)
        if self.wait(grace):
            return True
        self.signal(signal.SIGKILL)
        self.wait(10.0)
        return False


def start_detached(command: Sequence[str], *, log: Path) -> ProcessRecord:
    """Start a process in a session of its own, its output appended to `log`. `command[0]` is a path.

    Raises OSError if it cannot be executed.
    """
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    pid = os.posix_spawn(
        command[0],
        list(command),
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
    )
    ticks = _start_ticks(pid)
    return ProcessRecord(pid=pid, start_ticks=-1 if ticks is None else ticks, boot_id=_boot_id())


def save_record(record: ProcessRecord, path: Path) -> None:
    """Write a record so that a reader finds the old one or the new one, never half of it."""
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(json.dumps(asdict(record)) + "\n")
    scratch.replace(path)


def load_record(path: Path) -> ProcessRecord | None:
    """Read a record; None if there is none, or none that can be read."""
    try:
        fields = json.loads(path.read_text())
        return ProcessRecord(**fields)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log; "" if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X") and not _has_threads(pid):
        return None
    return int(fields[19])


def _has_threads(pid: int) -> bool:
    """Whether threads outlive the first one: they keep the process's files and ports open."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _reap(pid: int) -> None:
    """Collect our own child's exit, so that it does not stay a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
