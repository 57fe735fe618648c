"""From a running cluster to a quiet machine: processes first, then what they ran."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.local.layout import Layout
from cluster.local.manager import LocalCluster, exclusive, wipe
from cluster.local.settings import load_settings
from h9s.errors import UsageError


@dataclass(frozen=True)
class Stopped:
    """What was stopped, by name: components, and workers whose pods were removed."""

    components: tuple[str, ...]
    workers: tuple[str, ...]


def take_down(layout: Layout, *, wipe_state: bool = False) -> Stopped:
    """Stop a cluster and its pods; keep or remove its state. Safe to repeat.

    Raises UsageError where there is no cluster, ProcessError where pods could not be stopped; the
    state is then kept.
    """
    settings = load_settings(layout.state_dir) if layout.state_dir.exists() else None
    if settings is None:
        raise UsageError(f"{layout.state_dir} holds no cluster")
    cluster = LocalCluster(replace(layout, base_port=settings.base_port), settings)
    with exclusive(layout):
        components = tuple(cluster.stop_all())
        workers = tuple(cluster.remove_pods())
        if wipe_state:
            wipe(layout)
    return Stopped(components, workers)
