"""The processes of a local cluster: what each is started with and which ports it takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.local.layout import CONTROLLER_MANAGER, HOST, REPLICA_IDS, SCHEDULER, Layout, node_names
from cluster.local.settings import Settings


@dataclass(frozen=True)
class Component:
    """One process. `ports` says what each of its ports is for."""

    name: str
    command: tuple[str, ...]
    ports: Mapping[int, str]


def components(layout: Layout, settings: Settings, *, programs: Path) -> dict[str, Component]:
    """Every process of the cluster, in the order of their start. `programs`: the executables' folder."""
    everything = [
        *(_apiserver(layout, replica_id, programs) for replica_id in REPLICA_IDS),
        _loop(layout, SCHEDULER, layout.scheduler_metrics_port, programs),
        _loop(layout, CONTROLLER_MANAGER, layout.controller_manager_metrics_port, programs),
        *(_howbelet(layout, name, settings.runtime, programs) for name in node_names(settings.workers)),
    ]
    return {component.name: component for component in everything}


def _apiserver(layout: Layout, replica_id: str, programs: Path) -> Component:
    ports = layout.replica_ports(replica_id)
    return Component(
        name=replica_id,
        command=(
            str(programs / "howbe-apiserver"),
            "serve",
            "--config",
            str(layout.apiserver_config(replica_id)),
        ),
        ports={
            ports.api: "API",
            ports.peer: "peers",
            ports.metrics: "metrics",
            ports.join: "joining machines",
        },
    )


def _loop(layout: Layout, name: str, metrics_port: int, programs: Path) -> Component:
    return Component(
        name=name,
        command=(
            str(programs / f"howbe-{name}"),
            "--client-config",
            str(layout.client_config(name)),
            "--identity",
            name,
            "--metrics-address",
            f"{HOST}:{metrics_port}",
        ),
        ports={metrics_port: "metrics"},
    )


def _howbelet(layout: Layout, name: str, runtime: str, programs: Path) -> Component:
    ports = layout.node_ports(name)
    return Component(
        name=name,
        command=(
            str(programs / "howbelet"),
            "--client-config",
            str(layout.client_config(name)),
            "--node-name",
            name,
            "--data-dir",
            str(layout.data_dir(name)),
            "--runtime",
            runtime,
            "--address",
            HOST,
            "--port",
            str(ports.grpc),
            "--metrics-address",
            f"{HOST}:{ports.metrics}",
        ),
        ports={ports.grpc: "logs and exec", ports.metrics: "metrics"},
    )
