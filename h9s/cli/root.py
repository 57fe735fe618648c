"""`howbectl`: the table of commands, loaded one at a time, and what becomes of their errors.

Each command's one-line help stands here, so that `howbectl --help` loads none of them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from h9s.cli.failures import exit_code_of, explain
from h9s.cli.options import HowbectlGroup
from h9s.cli.session import Session
from h9s.errors import H9sError

#: Section -> command -> one line on what it does.
_SECTIONS: dict[str, dict[str, str]] = {
    "Work with objects": {
        "run": "Run an image in a pod",
        "create": "Create objects from manifests",
        "apply": "Create or change objects so that they are as the manifests say",
        "get": "List objects, or show some",
        "describe": "Show all about an object, with its events",
        "delete": "Delete objects",
        "label": "Set or remove labels",
        "annotate": "Set or remove annotations",
        "wait": "Wait until objects are in a condition, or gone",
    },
    "Work with what runs": {
        "scale": "Set how many replicas there are",
        "rollout": "Follow, undo, restart, pause or resume a Deployment's rollout",
        "logs": "Print what containers have written",
        "exec": "Run a command in a container",
        "events": "List what happened",
    },
    "Look back": {
        "history": "Show what happened to an object: when, who, what",
        "diff": "Show what is different between two revisions or times",
        "undo": "Write an old state of an object back",
    },
    "Look after the cluster": {
        "worker": "List the workers; print the command that joins another machine",
        "cluster": "Show the control plane's replicas; back up what they hold",
        "cordon": "Keep new pods off a node",
        "uncordon": "Let new pods onto a node again",
    },
    "Others": {
        "api-resources": "List the kinds of objects",
        "config": "Show the configuration in use",
        "completion": "Print the shell's completion script",
        "version": "Print the versions of client and cluster",
    },
}
_SUMMARIES = {name: summary for section in _SECTIONS.values() for name, summary in section.items()}
#: 128 and the number of the signal, as shells have it.
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141


class RootGroup(HowbectlGroup):
    """Loads `h9s.cli.commands.<name>` when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All of them, in the order of the help."""
        return list(_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The module's command."""
        if cmd_name not in _SUMMARIES:
            return None
        module = importlib.import_module(f"h9s.cli.commands.{cmd_name.replace('-', '_')}")
        command = module.COMMAND
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest where there is no such command."""
        if not ctx.resilient_parsing and args[0] not in _SUMMARIES and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{_nearest(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """By section."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt and a reader that has gone away end it without a word."""
        try:
            super().invoke(ctx)
            if sys.stdout is not None:  # closed by whoever started us
                sys.stdout.flush()
        except KeyboardInterrupt:
            ctx.exit(_EXIT_INTERRUPTED)
        except BrokenPipeError:
            _silence_stdout()
            ctx.exit(_EXIT_BROKEN_PIPE)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        **extra: Any,
    ) -> NoReturn:
        """Run one command line and exit with its code; every failure is one message on stderr."""
        extra.setdefault("obj", Session())
        try:
            code = super().main(args, prog_name or "howbectl", complete_var, standalone_mode=False, **extra)
        except click.Abort:
            code = _EXIT_INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = 0
        except click.ClickException as error:
            click.echo(_explain_usage(error), err=True)
            code = error.exit_code
        except H9sError as error:
            click.echo(explain(error), err=True)
            code = exit_code_of(error)
        sys.exit(code if isinstance(code, int) else 0)


def _explain_usage(error: click.ClickException) -> str:
    text = f"error: {error.format_message()}"
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{text}\nSee '{context.command_path} --help'." if context is not None else text


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, _SUMMARIES, n=1)
    return f", did you mean {near[0]!r}?" if near else "; `howbectl --help` lists them"


def _silence_stdout() -> None:
    """The reader is gone: keep the interpreter from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
def howbectl() -> None:
    """howbectl works with an h9s cluster.

    \b
    howbectl get pods                      what runs
    howbectl apply -f web.yaml             make it as the file says
    howbectl describe pod web              why it is as it is
    """


for _option in howbectl.params:
    if isinstance(_option, click.Option):
        _option.hidden = False
