"""`howbectl api-resources`."""

from __future__ import annotations

import click

from h9s.api.kinds import KINDS
from h9s.cli.options import command, output_option
from h9s.cli.tables import align


@command("api-resources")
@click.option(
    "--namespaced", type=bool, help="true: only what lives in namespaces; false: only what does not."
)
@click.option("--no-headers", is_flag=True, help="Without the line of titles.")
@output_option("name")
def COMMAND(namespaced: bool | None, no_headers: bool, output: str | None) -> None:
    """List the kinds of objects and what they may be called."""
    kinds = [kind for kind in KINDS if not kind.internal and namespaced in (None, kind.namespaced)]
    if output == "name":
        click.echo("".join(f"{kind.resource}\n" for kind in kinds), nl=False)
        return
    header = [] if no_headers else [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]]
    rows = [
        [kind.plural, ",".join(kind.short_names), kind.api_version, str(kind.namespaced).lower(), kind.kind]
        for kind in kinds
    ]
    click.echo(align(header + rows), nl=False)
