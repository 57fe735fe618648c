"""Changes as they come: of what a `get` has printed, or of one object that is waited for.

Both go on where they were when the history no longer reaches back: they read again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from h9s.api.kinds import ApiObject, M
from h9s.cli.reading import Found, Query
from h9s.errors import CompactedError

if TYPE_CHECKING:
    from h9s.client.client import Client


async def follow(client: Client, found: Found, query: Query, changed: Callable[[ApiObject], None]) -> None:
    """Call `changed` with every new state of what `found` was read from, for ever; for an object that
    was deleted, with its last state."""
    target = found.target
    cls = target.kind.message
    namespace = query.namespace if target.kind.namespaced else ""
    if target.name:
        query = replace(query, field_selector=f"metadata.name={target.name}")
    seen = {_identity(message): message.metadata.resource_version for message in found.objects}
    revision = found.revision
    while True:
        if not revision:
            listing = await client.list(
                cls, namespace, label_selector=query.label_selector, field_selector=query.field_selector
            )
            revision = listing.revision
            for message in listing.items:
                if seen.get(_identity(message)) != message.metadata.resource_version:
                    changed(message)
        changes = client.watch(
            cls,
            namespace,
            label_selector=query.label_selector,
            field_selector=query.field_selector,
            after_revision=revision,
        )
        try:
            async with aclosing(changes) as batches:
                async for batch in batches:
                    for event in batch.events:
                        seen[_identity(event.object)] = event.object.metadata.resource_version
                        changed(event.object)
        except CompactedError:
            revision = 0


def _identity(message: ApiObject) -> str:
    return f"{message.metadata.namespace}/{message.metadata.name}"


async def states(client: Client, cls: type[M], name: str, namespace: str) -> AsyncGenerator[M | None, None]:
    """One object as it is now, and again each time it changes; None while there is none. Close it
    (`contextlib.aclosing`) to stop."""
    from h9s.client.results import EventType

    while True:
        listing = await client.list(cls, namespace, field_selector=f"metadata.name={name}")
        yield listing.items[0] if listing.items else None
        changes = client.watch(cls, namespace, name=name, after_revision=listing.revision)
        try:
            async with aclosing(changes) as batches:
                async for batch in batches:
                    for event in batch.events:
                        yield None if event.type is EventType.DELETED else event.object
        except CompactedError:
            continue
