"""Where things of a local cluster are: files below its state directory, ports above its base port. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_BASE_PORT = 7400
REPLICA_IDS = ("r1", "r2", "r3")
SCHEDULER = "scheduler"
CONTROLLER_MANAGER = "controller-manager"


def default_state_dir() -> Path:
    """`~/.h9s`."""
    return Path.home() / ".h9s"


def node_names(workers: int) -> tuple[str, ...]:
    """n1, n2, ..."""
    return tuple(f"n{number}" for number in range(1, workers + 1))


@dataclass(frozen=True)
class ReplicaPorts:
    """The ports of one apiserver."""

    api: int
    peer: int
    metrics: int
    join: int


@dataclass(frozen=True)
class NodePorts:
    """The ports of one howbelet."""

    grpc: int
    metrics: int


@dataclass(frozen=True)
class Layout:
    """Names of files and numbers of ports; creates and opens nothing."""

    state_dir: Path
    base_port: int = DEFAULT_BASE_PORT

    def replica_ports(self, replica_id: str) -> ReplicaPorts:
        """Ports of `r1`, `r2` or `r3`."""
        first = self.base_port + 10 * REPLICA_IDS.index(replica_id)
        return ReplicaPorts(api=first, peer=first + 1, metrics=first + 2, join=first + 3)

    def node_ports(self, node_name: str) -> NodePorts:
        """Ports of the howbelet of `n1`, `n2`, ..."""
        first = self.base_port + 60 + 10 * (int(node_name.removeprefix("n")) - 1)
        return NodePorts(grpc=first, metrics=first + 1)

    @property
    def scheduler_metrics_port(self) -> int:
        """Where the scheduler serves /metrics."""
        return self.base_port + 40

    @property
    def controller_manager_metrics_port(self) -> int:
        """Where the controller manager serves /metrics."""
        return self.base_port + 50

    def api_address(self, replica_id: str) -> str:
        """Where a replica serves the API."""
        return f"{HOST}:{self.replica_ports(replica_id).api}"

    @property
    def api_addresses(self) -> tuple[str, ...]:
        """Where the API is served, replica by replica."""
        return tuple(self.api_address(replica_id) for replica_id in REPLICA_IDS)

    @property
    def settings_file(self) -> Path:
        """What the cluster was started with."""
        return self.state_dir / "cluster.yaml"

    @property
    def lock_file(self) -> Path:
        """Held while somebody starts or stops the cluster."""
        return self.state_dir / "lock"

    @property
    def pki_dir(self) -> Path:
        """The cluster's CA and the replicas' certificates."""
        return self.state_dir / "pki"

    @property
    def admin_config(self) -> Path:
        """The administrator's client configuration."""
        return self.state_dir / "howbectl.yaml"

    @property
    def log_dir(self) -> Path:
        """One log per process."""
        return self.state_dir / "logs"

    @property
    def run_dir(self) -> Path:
        """One record per running process."""
        return self.state_dir / "run"

    def client_config(self, name: str) -> Path:
        """The client configuration of a component or a node."""
        return self.state_dir / "clients" / f"{name}.yaml"

    def data_dir(self, name: str) -> Path:
        """The data of a replica or of a howbelet."""
        return self.state_dir / name / "data" if name in REPLICA_IDS else self.state_dir / name

    def apiserver_config(self, replica_id: str) -> Path:
        """The configuration of a replica."""
        return self.state_dir / replica_id / "apiserver.yaml"

    def log_file(self, name: str) -> Path:
        """The log of a process."""
        return self.log_dir / f"{name}.log"

    def record_file(self, name: str) -> Path:
        """The record of a process."""
        return self.run_dir / f"{name}.pid"
