"""`howbectl undo`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from h9s.api.kinds import ApiObject, kind_by
from h9s.cli.completion import complete_targets
from h9s.cli.field_diff import FieldChange, field_changes
from h9s.cli.moments import moment_of, revision_of
from h9s.cli.options import command, pass_session
from h9s.cli.output import object_name
from h9s.cli.reading import get_object
from h9s.cli.restoring import made_anew, put_back
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import Target, parse_target
from h9s.cli.writing import commit, create_all, modify
from h9s.errors import AlreadyExistsError, InvalidError, NotFoundError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client

#: How often to look again where the object comes or goes at the same time.
_ATTEMPTS = 5


@command("undo")
@click.argument("target", nargs=-1, required=True, metavar="KIND NAME", shell_complete=complete_targets)
@click.option(
    "--to-revision", type=click.IntRange(min=1), metavar="REVISION", help="To its state at this one."
)
@click.option("--to", "to_time", metavar="TIME", help="To its state then: 10m (ago) or 2026-11-20T10:00:00Z.")
@click.option("--dry-run", is_flag=True, help="Only say what would change; the cluster checks it.")
@pass_session
def COMMAND(
    session: Session, target: tuple[str, ...], to_revision: int | None, to_time: str | None, dry_run: bool
) -> None:
    """Write an old state of an object back, as a new change.

    Labels, annotations and spec become what they were; an object that was deleted is made anew. What
    is changed by others at the same time is not lost: then all is read and decided again.

    \b
    howbectl history deploy web                 what there is to go back to
    howbectl undo deploy web --to-revision 812
    howbectl undo deploy web --to 10m --dry-run
    """
    wanted = parse_target(target)
    if to_revision is None and to_time is None:
        raise UsageError("give --to-revision REVISION or --to TIME; `howbectl history` lists the revisions")
    if to_revision is not None and to_time is not None:
        raise UsageError("give --to-revision or --to, not both")
    moment = moment_of(to_revision, to_time, now=session.now)
    undo = _Undo(session, wanted, dry_run=dry_run)

    async def work(client: Client) -> tuple[ApiObject, str]:
        return await undo.run(client, await revision_of(client, moment))

    message, done = session.run(work)
    for change in undo.changes:
        click.echo(f"  {change}")
    for remark in undo.remarks:
        click.echo(remark, err=True)
    click.echo(f"{object_name(message)} {done}{' (dry run)' if dry_run else ''}")


class _Undo:
    """One object's way back."""

    def __init__(self, session: Session, target: Target, *, dry_run: bool) -> None:
        self._session = session
        self._target = target
        self._namespace = session.namespace if target.kind.namespaced else ""
        self._dry_run = dry_run
        #: What was (or would be) changed.
        self.changes: list[FieldChange] = []
        self.remarks: list[str] = []

    async def run(self, client: Client, revision: int) -> tuple[ApiObject, str]:
        """The object as it is then, and what was done."""
        old = await self._old(client, revision)
        for _ in range(_ATTEMPTS):
            try:
                return await self._change(client, old, revision)
            except NotFoundError:
                pass
            try:
                return await self._create(client, old, revision)
            except AlreadyExistsError:
                continue
        raise CommandError(f"{self._target} comes and goes; nothing was changed")

    async def _old(self, client: Client, revision: int) -> ApiObject:
        kind, name = self._target.kind, self._target.name
        try:
            return await get_object(client, kind.message, name, self._namespace, revision=revision)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error.message}: there is no state to go back to. `howbectl history {kind.singular} {name}`"
                " lists what there is"
            ) from error

    async def _change(self, client: Client, old: ApiObject, revision: int) -> tuple[ApiObject, str]:
        def change(current: ApiObject) -> None:
            self._require_alive(current)
            before = copy.deepcopy(current)
            put_back(current, old)
            self.changes = field_changes(before, current)

        cls, name = self._target.kind.message, self._target.name
        try:
            if self._dry_run:
                return await self._try(client, change, revision)
            updated, changed = await modify(client, cls, name, self._namespace, change, rng=self._session.rng)
        except InvalidError as error:
            raise InvalidError(
                f"the state at revision {revision} cannot be written over the present one: {error.message}",
                faults=error.faults,
            ) from error
        return updated, _done(revision) if changed else f"unchanged (it is as at revision {revision})"

    async def _try(
        self, client: Client, change: Callable[[ApiObject], None], revision: int
    ) -> tuple[ApiObject, str]:
        """Let the cluster check the change, without making it."""
        from h9s.client import operations

        current = await get_object(client, self._target.kind.message, self._target.name, self._namespace)
        wanted = copy.deepcopy(current)
        change(wanted)
        if wanted == current:
            return current, f"unchanged (it is as at revision {revision})"
        await commit(client, [operations.update(wanted)], dry_run=True)
        return wanted, _done(revision)

    async def _create(self, client: Client, old: ApiObject, revision: int) -> tuple[ApiObject, str]:
        living = await _living_owners(client, old, self._namespace)
        new = made_anew(old, living_owners=living)
        lost = [owner for owner in old.metadata.owner_references if owner.uid not in living]
        self.changes = []
        self.remarks = [
            f"it belonged to {owner.kind} {owner.name!r}, which is gone; now it belongs to nobody"
            for owner in lost
        ]
        (created,) = await create_all(client, [new], dry_run=self._dry_run)
        return created, f"created again as it was at revision {revision}"

    def _require_alive(self, current: ApiObject) -> None:
        if current.metadata.HasField("deletion_timestamp"):
            raise CommandError(f"{object_name(current)} is being deleted: wait until it is gone, then undo")


async def _living_owners(client: Client, old: ApiObject, namespace: str) -> set[str]:
    """The uids of those of its owners that are still there."""
    living = set()
    for owner in old.metadata.owner_references:
        group = owner.api_version.rpartition("/")[0]
        kind = kind_by(group, owner.kind)
        try:
            found = await client.get(kind.message, owner.name, namespace if kind.namespaced else "")
        except NotFoundError:
            continue
        if found.metadata.uid == owner.uid:
            living.add(owner.uid)
    return living


def _done(revision: int) -> str:
    return f"is again as it was at revision {revision}"
