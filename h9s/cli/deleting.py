"""Deleting objects: all that were named or none, then waiting until they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from h9s.api.kinds import ApiObject, kind_of
from h9s.cli.reading import Query, read_present
from h9s.cli.session import CommandError
from h9s.cli.targets import Target
from h9s.cli.watching import states
from h9s.cli.writing import commit
from h9s.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from h9s._pb import api_pb2
    from h9s.client.client import Client

_ATTEMPTS = 10
#: Of operations in one transaction, as the apiserver takes them.
_BATCH = 1000


@dataclass(frozen=True)
class Deletion:
    """How to delete."""

    #: Seconds that pods get to stop; None: their own.
    grace_period: int | None = None
    #: Background, Foreground or Orphan.
    propagation: str = "Background"
    ignore_not_found: bool = False
    dry_run: bool = False


async def delete_targets(
    client: Client, wanted: Sequence[tuple[Target, Query]], deletion: Deletion
) -> list[ApiObject]:
    """Delete what the targets name and say what it was; one transaction per thousand objects.

    Raises NotFoundError where a name is not there, unless that is to be ignored; nothing is deleted then.
    An object that was replaced by one of its name in the meantime is looked at again, not deleted unseen.
    """
    for attempt in range(_ATTEMPTS):
        objects = await _read(client, wanted, deletion)
        try:
            for start in range(0, len(objects), _BATCH):
                batch = objects[start : start + _BATCH]
                operations = [_operation(message, deletion) for message in batch]
                await commit(client, operations, dry_run=deletion.dry_run)
        except (ConflictError, NotFoundError):
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return objects
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _read(
    client: Client, wanted: Sequence[tuple[Target, Query]], deletion: Deletion
) -> list[ApiObject]:
    results = await asyncio.gather(*(read_present(client, [target], query) for target, query in wanted))
    objects: dict[str, ApiObject] = {}
    missing: list[NotFoundError] = []
    for (result,) in results:
        if isinstance(result, NotFoundError):
            missing.append(result)
        else:
            objects.update((message.metadata.uid, message) for message in result.objects)
    if missing and not deletion.ignore_not_found:
        raise NotFoundError("; ".join(error.message for error in missing))
    return list(objects.values())


def _operation(message: ApiObject, deletion: Deletion) -> api_pb2.Operation:
    from h9s.client import operations

    return operations.delete(
        message, grace_period_seconds=deletion.grace_period, propagation_policy=deletion.propagation
    )


async def wait_until_gone(client: Client, objects: Sequence[ApiObject], *, timeout: float) -> None:
    """Return when none of these very objects is there any more. Raises CommandError after `timeout`
    seconds (0: never), naming those that still are."""
    remaining = {message.metadata.uid: message for message in objects}

    async def wait(message: ApiObject) -> None:
        metadata = message.metadata
        async with aclosing(
            states(client, type(message), metadata.name, metadata.namespace)
        ) as current_states:
            async for current in current_states:
                if current is None or current.metadata.uid != metadata.uid:
                    del remaining[metadata.uid]
                    return

    try:
        async with asyncio.timeout(timeout or None):
            await asyncio.gather(*map(wait, objects))
    except TimeoutError:
        left = ", ".join(f"{kind_of(m).singular}/{m.metadata.name}" for m in remaining.values())
        raise CommandError(f"timed out waiting for the deletion of {left}") from None
