"""How every command here ends: an exit code, and one message for an expected failure, not a traceback."""

from __future__ import annotations

import signal
import sys

import click

from h9s.errors import H9sError


def run_command(command: click.Command, *, name: str, interrupted: str) -> int:
    """Run a click command; gives the exit code. `interrupted`: what to say at Ctrl-C.

    Errors that are nobody's mistake but ours pass through, with their traceback.
    """
    # Whoever ends the command gets its clean-up too, not only who presses Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = command.main(prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print(interrupted, file=sys.stderr)
        return 130
    except H9sError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    except BaseExceptionGroup as group:
        expected, others = group.split(H9sError)
        if expected is None or others is not None:
            raise
        for failure in _leaves(expected):
            print(f"error: {failure}", file=sys.stderr)
        return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
