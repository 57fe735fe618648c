"""Changing the cluster: every write of every command goes through here.

A command reads, decides and writes; where another writer was faster, it reads again and decides
anew, so that of many howbectls at once none loses another's change.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from h9s.api.kinds import ApiObject, M, kind_of
from h9s.api.objects import from_object
from h9s.cli.manifests import Manifest
from h9s.cli.planning import Action, Step, plan
from h9s.cli.reading import get_object
from h9s.errors import (
    AlreadyExistsError,
    ConflictError,
    H9sError,
    NotFoundError,
    TimeoutExpiredError,
)

if TYPE_CHECKING:
    from h9s._pb import api_pb2
    from h9s.client.client import Client

#: How often a command decides anew before it gives up. Each time somebody else has got something done.
_ATTEMPTS = 50
#: The longest pause before that, in seconds, so that many who collided do not collide again.
_PAUSE = 0.03


async def commit(
    client: Client, operations: Sequence[api_pb2.Operation], *, dry_run: bool = False
) -> api_pb2.CommitResponse:
    """One atomic transaction. As `Client.commit`, but a timeout says what it means for the user."""
    try:
        return await client.commit(operations, dry_run=dry_run)
    except TimeoutExpiredError as error:
        raise TimeoutExpiredError(
            f"{error.message}; whether the change was made is open, look before repeating it"
        ) from error


async def create_all(
    client: Client, messages: Sequence[ApiObject], *, dry_run: bool = False
) -> list[ApiObject]:
    """Create all objects at one revision, or none; as they are stored, in the order given."""
    from h9s.client import operations

    ordered = sorted(range(len(messages)), key=lambda index: _is_namespaced(messages[index]))
    response = await commit(
        client, [operations.create(messages[index]) for index in ordered], dry_run=dry_run
    )
    created = {
        index: from_object(stored) if stored.HasField("value") else messages[index]
        for index, stored in zip(ordered, response.objects, strict=True)
    }
    return [created[index] for index in range(len(messages))]


async def modify(
    client: Client,
    cls: type[M],
    name: str,
    namespace: str,
    change: Callable[[M], None],
    *,
    rng: random.Random,
) -> tuple[M, bool]:
    """Read an object, let `change` alter it in place, and write it back; again where it has been
    changed meanwhile. Returns the object as it is then, and whether anything was to be done."""
    for attempt in range(_ATTEMPTS):
        current = await get_object(client, cls, name, namespace)
        wanted = copy.deepcopy(current)
        change(wanted)
        if wanted == current:
            return current, False
        from h9s.client import operations

        try:
            response = await commit(client, [operations.update(wanted)])
        except ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(rng.uniform(0, _PAUSE))
        else:
            stored = response.objects[0]
            updated = from_object(stored) if stored.HasField("value") else wanted
            assert isinstance(updated, cls)
            return updated, True
    raise AssertionError("unreachable: the last attempt returns or raises")


async def apply_all(
    client: Client, manifests: Sequence[Manifest], *, rng: random.Random, dry_run: bool = False
) -> list[Step]:
    """Make all objects as their manifests say, at one revision, or change nothing.

    What was done about each, in the order given. Where an object has changed since it was read, all
    is read and merged again, unless its manifest itself names a resourceVersion.
    """
    known: list[str] | None = None
    failure: H9sError | None = None
    for _ in range(_ATTEMPTS):
        steps = await plan_all(client, manifests)
        revisions = [step.message.metadata.resource_version for step in steps]
        if failure is not None and revisions == known:
            raise failure  # nobody else's doing: another look shows the same
        known = revisions
        try:
            return await _carry_out(client, steps, dry_run=dry_run)
        except (ConflictError, AlreadyExistsError, NotFoundError) as error:
            if any(step.pinned for step in steps):
                raise
            failure = error
            await asyncio.sleep(rng.uniform(0, _PAUSE))
    assert failure is not None
    raise failure


async def plan_all(client: Client, manifests: Sequence[Manifest]) -> list[Step]:
    """What is to be done about each manifest as things are now."""
    currents = await asyncio.gather(*(_read(client, manifest.message) for manifest in manifests))
    return [plan(manifest.claims, current) for manifest, current in zip(manifests, currents, strict=True)]


async def _read(client: Client, message: ApiObject) -> ApiObject | None:
    try:
        return await client.get(type(message), message.metadata.name, message.metadata.namespace)
    except NotFoundError:
        return None


async def _carry_out(client: Client, steps: Sequence[Step], *, dry_run: bool) -> list[Step]:
    from h9s.client import operations

    make = {Action.CREATE: operations.create, Action.UPDATE: operations.update}
    work = [(index, step) for index, step in enumerate(steps) if step.action is not Action.NOTHING]
    work.sort(key=lambda item: _is_namespaced(item[1].message))
    if not work:
        return list(steps)
    response = await commit(client, [make[step.action](step.message) for _, step in work], dry_run=dry_run)
    done = list(steps)
    for (index, step), stored in zip(work, response.objects, strict=True):
        done[index] = _outcome(step, stored)
    return done


def _outcome(step: Step, stored: api_pb2.Object) -> Step:
    message = from_object(stored) if stored.HasField("value") else step.message
    same_revision = message.metadata.resource_version == step.message.metadata.resource_version
    if step.action is Action.UPDATE and same_revision:
        return Step(Action.NOTHING, message)  # it differed only in what the server writes its own way
    return Step(step.action, message)


def _is_namespaced(message: ApiObject) -> bool:
    """Namespaces and the like come first: what lives in them can then be made in the same transaction."""
    return kind_of(message).namespaced
