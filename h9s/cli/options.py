"""What the commands' command lines have in common: global options, value types, shared options.

Global options stand before or after the command's name, as kubectl's do: every command declares them
again, and the last one given wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from h9s.cli.arguments import normalize
from h9s.cli.durations import parse_duration
from h9s.cli.session import CONFIG_VARIABLE, DEFAULT_CONFIG, Session

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Seconds, written `90s` or `5m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fail with the parser's own message."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()


def _remember(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def store(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        session = ctx.find_object(Session)
        if value is not None and session is not None:
            setattr(session, field, value)

    return store


def global_options(*, hidden: bool) -> list[click.Option]:
    """Fresh instances of the global options, for one command."""

    def option(*names: str, field: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember(field), **attributes)

    return [
        option(
            "-n",
            "--namespace",
            field="explicit_namespace",
            metavar="NAMESPACE",
            help="The namespace to work in.",
        ),
        option(
            "--config",
            field="config_path",
            metavar="FILE",
            hidden=hidden,
            help=f"How to reach the cluster; default ${CONFIG_VARIABLE}, then {DEFAULT_CONFIG}.",
        ),
        option(
            "-s",
            "--server",
            field="server",
            metavar="HOST:PORT,...",
            hidden=hidden,
            help="Addresses of apiservers, instead of the configuration's.",
        ),
        option(
            "--request-timeout",
            field="request_timeout",
            type=DURATION,
            metavar="DURATION",
            hidden=hidden,
            help="How long to keep asking before giving up; default 10s, 0 for ever.",
        ),
    ]


class HowbectlCommand(click.Command):
    """A command that takes the global options and kubectl's spellings."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(global_options(hidden=True))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite `-o=yaml` and `--wait=false` first."""
        return super().parse_args(ctx, _normalized(self, ctx, args))


class HowbectlGroup(click.Group):
    """A command with commands of its own."""

    command_class = HowbectlCommand

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(global_options(hidden=True))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite `-n=x` first."""
        return super().parse_args(ctx, _normalized(self, ctx, args))


def _normalized(command: click.Command, ctx: click.Context, args: list[str]) -> list[str]:
    flags: dict[str, str | None] = {}
    for param in command.params:
        if isinstance(param, click.Option) and param.is_flag:
            off = param.secondary_opts[0] if param.secondary_opts else None
            flags.update(dict.fromkeys((name for name in param.opts if name.startswith("--")), off))
    try:
        return normalize(args, flags=flags)
    except ValueError as error:
        raise click.UsageError(str(error), ctx=ctx) from error


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], HowbectlCommand]:
    """Declare a command."""
    return click.command(name, cls=HowbectlCommand, **attributes)


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], HowbectlGroup]:
    """Declare a command with commands of its own."""
    return click.group(name, cls=HowbectlGroup, **attributes)


def output_option(*formats: str) -> Callable[[F], F]:
    """-o with these formats."""
    return click.option("-o", "--output", type=click.Choice(formats), help="How to print it.")


def selector_option(function: F) -> F:
    """-l."""
    return click.option(
        "-l", "--selector", default="", metavar="SELECTOR", help="Labels: a=b,c!=d,e in (f,g)."
    )(function)


def filename_option(*, required: bool) -> Callable[[F], F]:
    """-f, and the -R of kubectl, which changes nothing: folders are always read with all below."""

    def decorate(function: F) -> F:
        function = click.option("-R", "--recursive", is_flag=True, hidden=True, expose_value=False)(function)
        return click.option(
            "-f",
            "--filename",
            "filenames",
            multiple=True,
            required=required,
            metavar="FILE",
            help="A manifest, a folder of them, or - for standard input; may be repeated.",
        )(function)

    return decorate


def dry_run_option(function: F) -> F:
    """--dry-run."""
    return click.option(
        "--dry-run",
        type=click.Choice(["none", "client", "server"]),
        default="none",
        help="Only say what would be done: `server` runs all of the cluster's checks.",
    )(function)


pass_session = click.make_pass_decorator(Session)
