"""From what a shim has written to what is observed, and signals to what it started."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from h9s.clock import Clock
from h9s.kubelet.observed import ERROR, EXIT_KILLED, ObservedContainer, State
from h9s.kubelet.process.records import ContainerId, is_alive, read_json, write_json


def observed_container(
    container_id: ContainerId, directory: Path, config: dict[str, Any], *, shim_is_alive: bool, clock: Clock
) -> ObservedContainer:
    """One run, from its directory. `shim_is_alive` was found out before the directory is read here.

    Where the shim is gone without a word, sees to the container's end and notes it.
    """
    created = ObservedContainer(
        id=str(container_id),
        name=container_id.name,
        attempt=container_id.attempt,
        state=State.CREATED,
        sandbox_id=config["sandbox_id"],
        image=config["image"],
        image_id=config["image_id"],
        spec_hash=config["spec_hash"],
        grace_seconds=config["grace_seconds"],
        created_at=config["at"],
    )
    if read_json(directory / "shim.json") is None:
        return created
    ended, started = read_json(directory / "exit.json"), read_json(directory / "start.json")
    started_at = started["at"] if started is not None else None
    if ended is None and shim_is_alive:
        return replace(created, state=State.RUNNING, started_at=started_at)
    if ended is None:
        ended = _bury(directory, started, clock)
    return replace(
        created,
        state=State.EXITED,
        started_at=started_at,
        finished_at=ended["at"],
        exit_code=ended["exit_code"],
        signal=ended["signal"],
        reason=ended["reason"],
        message=ended["message"],
    )


def send_signal(record: dict[str, Any], number: signal.Signals) -> None:
    """Signal a container's main process, unless its number is another process's by now."""
    if is_alive(record):
        try:
            os.kill(record["pid"], number)
        except ProcessLookupError:
            return


def signal_group(record: dict[str, Any], number: signal.Signals) -> None:
    """The same for its process group."""
    if is_alive(record):
        try:
            os.killpg(record["pid"], number)
        except ProcessLookupError:
            return


def _bury(directory: Path, started: dict[str, Any] | None, clock: Clock) -> dict[str, Any]:
    """The shim was killed, or the machine went down with it."""
    if started is not None:
        signal_group(started, signal.SIGKILL)
    ended = {
        "exit_code": EXIT_KILLED,
        "signal": int(signal.SIGKILL),
        "reason": ERROR,
        "message": "nobody saw how it ended: its shim was killed, or the machine went down",
        "at": clock.wall(),
    }
    write_json(directory / "exit.json", ended)
    return ended
