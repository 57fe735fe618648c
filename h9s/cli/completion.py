"""What the shell offers after Tab: kinds, and the names of objects that there are.

Names come from the cluster; where it does not answer at once, the shell simply offers none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s.cli.session import Session
from h9s.errors import H9sError

if TYPE_CHECKING:
    from h9s.api.kinds import Kind
    from h9s.client.client import Client

_PATIENCE_SECONDS = 1.0


def complete_targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For `KIND NAME`, `KIND/NAME` and `KIND,KIND`."""
    from h9s.api.kinds import KINDS, find_kind

    given: list[str] = list(ctx.params.get(param.name or "") or ())
    try:
        if "/" in incomplete:
            kind_name = incomplete.partition("/")[0]
            return [
                f"{kind_name}/{name}"
                for name in _names(ctx, find_kind(kind_name), incomplete.partition("/")[2])
            ]
        if given and "/" not in given[0]:
            return _names(ctx, find_kind(given[0]), incomplete)
    except H9sError:
        return []
    before, comma, last = incomplete.rpartition(",")
    plurals = [kind.plural for kind in KINDS if not kind.internal]
    return [before + comma + plural for plural in plurals if plural.startswith(last.lower())]


def complete_pods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For the name of a pod, or KIND/NAME."""
    from h9s.api.kinds import find_kind

    if "/" in incomplete:
        return complete_targets(ctx, param, incomplete)
    return _names(ctx, find_kind("pod"), incomplete)


def complete_nodes(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """For the name of a node."""
    from h9s.api.kinds import find_kind

    return _names(ctx, find_kind("node"), incomplete)


def _names(ctx: click.Context, kind: Kind, prefix: str) -> list[str]:
    session = ctx.find_object(Session)
    assert session is not None
    session.request_timeout = _PATIENCE_SECONDS

    async def work(client: Client) -> list[str]:
        listing = await client.list(kind.message, session.namespace if kind.namespaced else "", stale_ok=True)
        return [message.metadata.name for message in listing.items]

    try:
        return [name for name in session.run(work) if name.startswith(prefix)]
    except (H9sError, OSError):
        return []


def script(command: click.Command, shell: str) -> str:
    """What the shell has to read so that it completes howbectl's command lines."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None
    return completion(command, {}, "howbectl", "_HOWBECTL_COMPLETE").source()
