"""`howbectl completion`."""

from __future__ import annotations

import click

from h9s.cli.completion import script
from h9s.cli.options import command


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def COMMAND(ctx: click.Context, shell: str) -> None:
    """Print the shell's completion script.

    \b
    source <(howbectl completion bash)
    source <(howbectl completion zsh)
    howbectl completion fish | source
    """
    click.echo(script(ctx.find_root().command, shell))
