"""What a person sees while a cluster starts: one line per step, and what it waits for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from h9s.clock import Clock, SystemClock

_TITLE_WIDTH = 22


class Step:
    """One step under way: `waiting_for` while it lasts, `result` for its end."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.result = ""
        self._progress = progress
        self._title = title

    def waiting_for(self, missing: str) -> None:
        """Say what is missing."""
        self._progress.show(self._title, missing, done=False)


class Progress:
    """Writes steps. A terminal has the line of the running step rewritten; a log gets a line per change."""

    def __init__(self, out: TextIO | None = None, *, clock: Clock | None = None) -> None:
        self._out = out or sys.stdout
        self._clock = clock or SystemClock()
        self._rewrites = self._out.isatty()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step, and at its end say what came of it and how long it took."""
        begin = self._clock.monotonic()
        step = Step(self, title)
        if self._rewrites:
            self.show(title, "...", done=False)
        try:
            yield step
        except BaseException:
            if self._rewrites:
                self._out.write("\n")
                self._out.flush()
            raise
        self.show(title, f"{step.result}  ({self._clock.monotonic() - begin:.1f} s)", done=True)

    def show(self, title: str, text: str, *, done: bool) -> None:
        """Write the line of a step."""
        line = f"  {title:<{_TITLE_WIDTH}} {text if done else f'waiting: {text}'}"
        if self._rewrites:
            self._out.write(f"\r\x1b[K{line}" + ("\n" if done else ""))
        else:
            self._out.write(line + "\n")
        self._out.flush()


class Silent(Progress):
    """Writes nothing; for those who start clusters from a program."""

    def show(self, title: str, text: str, *, done: bool) -> None:
        """See `Progress.show`."""
