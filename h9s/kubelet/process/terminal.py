"""Gives a command the terminal that it was started on: `python -S -E -I terminal.py COMMAND...`.

Only the process itself can take a terminal as its own, after leaving its session and before it becomes
the command; this is that moment. Stands alone.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios


def main(command: list[str]) -> int:
    """Become the command. 127 if it cannot be run."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
