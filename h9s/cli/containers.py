"""Which pods and containers a command means, from what the user names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from h9s._pb import core_pb2
from h9s.api.labels import Selector
from h9s.api.pods import is_active
from h9s.cli.reading import Query, read_target
from h9s.cli.session import CommandError
from h9s.cli.targets import Target
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def pods_of(client: Client, target: Target, namespace: str) -> list[core_pb2.Pod]:
    """The pod itself, or those that a Deployment or ReplicaSet selects, the ones that live first.

    Raises NotFoundError, UsageError for a kind that has no pods, CommandError where there are none yet.
    """
    found: Any = (await read_target(client, target, Query(namespace))).objects[0]
    if isinstance(found, core_pb2.Pod):
        return [found]
    if not hasattr(getattr(found, "spec", None), "selector"):
        raise UsageError(f"a {target.kind.singular} has no pods")
    selector = str(Selector.from_label_selector(found.spec.selector))
    listing = await client.list(core_pb2.Pod, namespace, label_selector=selector)
    if not listing.items:
        raise CommandError(f"{target} has no pods")
    return sorted(listing.items, key=lambda pod: (not is_active(pod), pod.metadata.name))


def choose_container(pod: core_pb2.Pod, wanted: str) -> str:
    """The container of that name, or the one that commands take unless told otherwise; which that is
    is said on stderr where there is a choice. Raises CommandError."""
    names = [container.name for container in pod.spec.containers]
    if wanted:
        if wanted not in names:
            raise CommandError(
                f'pod "{pod.metadata.name}" has no container {wanted!r}; there are: {", ".join(names)}'
            )
        return wanted
    default = _default(pod, names)
    if len(names) > 1:
        click.echo(f'Defaulted container "{default}" out of: {", ".join(names)}', err=True)
    return default


def _default(pod: core_pb2.Pod, names: Sequence[str]) -> str:
    annotated = pod.metadata.annotations.get(_DEFAULT_CONTAINER) or ""
    return annotated if annotated in names else names[0]
