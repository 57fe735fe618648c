"""Reading what targets name: by name, by selector, all of a kind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from h9s.api.fields import FieldSelector
from h9s.api.kinds import ApiObject, M, kind_of
from h9s.api.labels import Selector
from h9s.cli.targets import Target
from h9s.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@dataclass(frozen=True)
class Query:
    """Where and which, beside the targets; an empty namespace means all."""

    namespace: str
    label_selector: str = ""
    field_selector: str = ""
    #: As it was then; 0: now.
    revision: int = 0

    @property
    def selects(self) -> bool:
        """Whether there is a selector at all."""
        return bool(self.label_selector or self.field_selector)


@dataclass(frozen=True)
class Found:
    """Objects of one target and the revision at which this is all of them (0 for a single object)."""

    target: Target
    objects: tuple[ApiObject, ...]
    revision: int = 0


def check_query(targets: Sequence[Target], query: Query) -> None:
    """Raises UsageError where names, selectors and all namespaces contradict each other, InvalidError
    where a selector cannot be understood."""
    Selector.parse(query.label_selector)
    fields = FieldSelector.parse(query.field_selector)
    for target in targets:
        fields.check(target.kind)
    named = any(target.name for target in targets)
    if named and query.selects:
        raise UsageError("give names or a selector, not both")
    if named and not query.namespace and any(target.kind.namespaced for target in targets):
        raise UsageError("an object cannot be named across all namespaces: leave out -A or the name")


async def get_object(client: Client, cls: type[M], name: str, namespace: str, *, revision: int = 0) -> M:
    """One object, now or at an old revision. Raises NotFoundError in kubectl's words."""
    try:
        return await client.get(cls, name, namespace, revision=revision)
    except NotFoundError as error:
        then = f" at revision {revision}" if revision else ""
        raise NotFoundError(f'{kind_of(cls).resource} "{name}" not found{then}') from error


async def read_target(client: Client, target: Target, query: Query) -> Found:
    """Raises NotFoundError for a name that there is not."""
    cls = target.kind.message
    namespace = query.namespace if target.kind.namespaced else ""
    if target.name:
        found = await get_object(client, cls, target.name, namespace, revision=query.revision)
        return Found(target, (found,))
    listing = await client.list(
        cls,
        namespace,
        label_selector=query.label_selector,
        field_selector=query.field_selector,
        revision=query.revision,
    )
    return Found(target, tuple(listing.items), listing.revision)


async def read_targets(client: Client, targets: Sequence[Target], query: Query) -> list[Found]:
    """All of them at once; what there is, unless a name is missing: raises the first NotFoundError."""
    results = await read_present(client, targets, query)
    for result in results:
        if isinstance(result, NotFoundError):
            raise result
    return [result for result in results if isinstance(result, Found)]


async def read_present(
    client: Client, targets: Sequence[Target], query: Query
) -> list[Found | NotFoundError]:
    """What there is of each target, in their order; names that are not there as their error."""

    async def read(target: Target) -> Found | NotFoundError:
        try:
            return await read_target(client, target, query)
        except NotFoundError as error:
            return error

    return await asyncio.gather(*map(read, targets))
