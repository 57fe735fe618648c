"""`howbectl config`."""

from __future__ import annotations

import click

from h9s.cli.options import group, pass_session
from h9s.cli.session import Session


@group("config")
def COMMAND() -> None:
    """Show the configuration in use."""


@COMMAND.command("view")
@click.option("--raw", is_flag=True, help="With the private key.")
@pass_session
def _view(session: Session, raw: bool) -> None:
    """Print it, without the private key."""
    import yaml

    config = session.config
    document = {
        "servers": list(config.servers),
        "namespace": session.namespace,
        "ca": config.ca.decode() if raw else "DATA+OMITTED",
        "certificate": config.certificate.decode() if raw else "DATA+OMITTED",
        "key": config.key.decode() if raw else "REDACTED",
    }
    click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


@COMMAND.command("path")
@pass_session
def _path(session: Session) -> None:
    """Print where it is."""
    click.echo(str(session.find_config()))
