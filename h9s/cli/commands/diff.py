"""`howbectl diff`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from h9s._pb import api_pb2, coordination_pb2, core_pb2
from h9s.api.kinds import kind_of
from h9s.cli.changes import as_text, difference_headline, fields_of, verb_of
from h9s.cli.completion import complete_targets
from h9s.cli.moments import NOW, parse_moment, revision_of
from h9s.cli.options import command, output_option, pass_session
from h9s.cli.session import Session
from h9s.cli.targets import Target, parse_targets
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client
    from h9s.client.history import ObjectChange

#: Change all the time and say little about the cluster.
_NOISE = frozenset(kind_of(cls).kind for cls in (core_pb2.Event, coordination_pb2.Lease))


@command("diff")
@click.argument("targets", nargs=-1, metavar="[KIND [NAME]...]", shell_complete=complete_targets)
@click.option("--from", "since", required=True, metavar="REVISION|TIME", help="812, 10m (ago) or a time.")
@click.option("--to", "until", metavar="REVISION|TIME", help="Default: now.")
@click.option("--all", "everything", is_flag=True, help="Leases and Events too.")
@output_option("yaml", "json")
@pass_session
def COMMAND(
    session: Session,
    targets: tuple[str, ...],
    since: str,
    until: str | None,
    everything: bool,
    output: str | None,
) -> None:
    """Show what is different in the cluster between two revisions or times.

    In all namespaces, or in that of -n. Each object with the last of the revisions between that changed it.

    \b
    howbectl diff --from 10m
    howbectl diff --from 800 --to 812 deploy
    howbectl diff --from 2026-11-20T10:00:00Z -n shop
    """
    wanted = parse_targets(targets) if targets else []
    start = parse_moment(since, now=session.now)
    end = parse_moment(until, now=session.now) if until else NOW
    if any(target.name for target in wanted) and not session.explicit_namespace:
        session.explicit_namespace = session.namespace

    async def work(client: Client) -> tuple[int, int, list[ObjectChange]]:
        first, last = await revision_of(client, start), await revision_of(client, end)
        if last and last < first:
            raise UsageError(
                f"--to is revision {last}, --from is revision {first}: a difference goes forward"
            )
        if not last:
            last = (await client.cluster_status()).revision
            last = max(first, last)
        found: list[ObjectChange] = []
        for key in _keys(wanted, session.explicit_namespace or ""):
            async for each in client.history.differences(key, from_revision=first, to_revision=last):
                found.append(each)  # noqa: PERF401
        return first, last, found

    first, last, found = session.run(work)
    shown = [each for each in found if _is_shown(each, session.explicit_namespace, wanted, everything)]
    if output:
        click.echo(as_text(shown, output), nl=False)
        return
    for change in shown:
        click.echo(difference_headline(change, now=session.now))
        for field in fields_of(change):
            click.echo(f"    {field}")
    click.echo(_summary(first, last, shown, len(found) - len(shown)), err=True)


def _keys(wanted: Sequence[Target], namespace: str) -> list[api_pb2.ObjectKey]:
    if not wanted:
        return [api_pb2.ObjectKey()]
    return [
        api_pb2.ObjectKey(
            group=target.kind.group,
            kind=target.kind.kind,
            namespace=namespace if target.kind.namespaced else "",
            name=target.name,
        )
        for target in wanted
    ]


def _is_shown(
    change: ObjectChange, namespace: str | None, wanted: Sequence[Target], everything: bool
) -> bool:
    if namespace and not wanted and change.key.namespace != namespace:
        return False
    return bool(wanted) or everything or change.key.kind not in _NOISE


def _summary(first: int, last: int, shown: Sequence[ObjectChange], hidden: int) -> str:
    counts = Counter(map(verb_of, shown))
    parts = [f"{count} {verb}" for verb, count in sorted(counts.items())] or ["nothing differs"]
    rest = f"; {hidden} more not shown (Leases and Events, other namespaces)" if hidden else ""
    return f"between revision {first} and {last}: {', '.join(parts)}{rest}"
