"""Which runtime a howbelet uses: Docker when an engine answers, else processes."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import UsageError
from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.docker.labels import Owner
from h9s.kubelet.docker.runtime import DockerRuntime
from h9s.kubelet.process.runtime import ProcessRuntime
from h9s.kubelet.runtime import Runtime, RuntimeFailureError, RuntimeInfo

logger = logging.getLogger(__name__)

RUNTIMES = ("auto", "docker", "process")
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Prepared:
    """A runtime that is ready, what it says of itself, and why it was chosen."""

    runtime: Runtime
    info: RuntimeInfo
    reason: str


def cluster_label(config: ClientConfig, configured: str) -> str:
    """What tells this cluster's containers from another's on the same engine: as configured, else from
    the cluster's CA."""
    return configured or hashlib.sha256(config.ca.strip()).hexdigest()[:12]


async def open_runtime(
    wish: str, *, node_name: str, cluster: str, data_dir: Path, engine_address: str, clock: Clock
) -> Prepared:
    """The runtime that was asked for, ready. `auto`: the one that this node has used before, since its
    pods are there; at first, as the module says. Raises UsageError where an engine is needed and none
    answers."""
    address = engine_address or os.environ.get("DOCKER_HOST") or _DEFAULT_ENGINE
    before = _Memory(data_dir / "runtime")
    if wish == "process" or (wish == "auto" and before.read() == "process"):
        prepared = await _open_process(data_dir, clock, "as asked for" if wish == "process" else "as before")
    else:
        owner = Owner(cluster, node_name)
        try:
            prepared = await _open_docker(address, owner, clock, wish)
        except RuntimeFailureError as error:
            if wish == "docker" or before.read() == "docker":
                raise UsageError(f"this node's runtime is docker, but {error.message}") from error
            prepared = await _open_process(data_dir, clock, error.message)
    before.write(prepared.runtime.name)
    return prepared


class _Memory:
    """Which runtime was used last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        return self._path.read_text(encoding="ascii").strip() if self._path.exists() else ""

    def write(self, name: str) -> None:
        self._path.write_text(f"{name}\n", encoding="ascii")


async def _open_docker(address: str, owner: Owner, clock: Clock, wish: str) -> Prepared:
    runtime = DockerRuntime(Engine(address, clock=clock), owner=owner, clock=clock)
    try:
        info = await runtime.prepare()
    except BaseException:
        await runtime.close()
        raise
    reason = "as asked for" if wish == "docker" else f"a Docker Engine answers at {address}"
    return Prepared(runtime, info, reason)


async def _open_process(data_dir: Path, clock: Clock, reason: str) -> Prepared:
    addresses = Path(tempfile.gettempdir()) / "h9s-addresses"
    runtime = ProcessRuntime(data_dir / "process", addresses=addresses, clock=clock)
    return Prepared(runtime, await runtime.prepare(), reason)
