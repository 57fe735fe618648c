"""What a howbelet was started with, and what follows from it where something was left out."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from h9s.config import ClientConfig
from h9s.errors import UsageError

#: The port of a cluster's first howbelet; its metrics are on the next one.
DEFAULT_PORT = 7460


@dataclass(frozen=True)
class Arguments:
    """The command line, as `howbelet --help` explains it."""

    client_config: Path | None
    join: str
    token: str
    node_name: str
    data_dir: Path
    runtime: str
    docker_host: str
    cluster_label: str
    address: str
    port: int
    metrics_address: str
    resync_seconds: float
    restart_backoff: tuple[float, float]
    pull_backoff: tuple[float, float]
    remove_pods: bool
    longest_grace: float

    def effective_metrics_address(self) -> str:
        """Where metrics are served: as asked for, else beside the server, for this machine alone."""
        return self.metrics_address or f"127.0.0.1:{self.port + 1}"

    def effective_address(self, config: ClientConfig) -> str:
        """Where others reach this node: as asked for, else its address on the way to the apiservers."""
        return self.address or _own_address_towards(config.servers[0])


def default_node_name() -> str:
    """The machine's name, as names of nodes are written."""
    return socket.gethostname().lower()


def default_data_dir() -> str:
    """Where a howbelet keeps its data: the system's place for root, the user's own for others."""
    return "/var/lib/h9s/howbelet" if os.geteuid() == 0 else str(Path.home() / ".h9s" / "howbelet")


def _own_address_towards(server: str) -> str:
    host, _, port = server.rpartition(":")
    try:
        family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind) as probe:
            # Nothing is sent: the kernel only chooses the way.
            probe.connect(target)
            return str(probe.getsockname()[0])
    except (OSError, ValueError) as error:
        raise UsageError(f"no way from here to {server}: {error}; give --address") from error
