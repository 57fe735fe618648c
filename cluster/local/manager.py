"""Starting, stopping and killing the processes of one local cluster. Knows processes, not the API."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.components import Component, components
from cluster.local.layout import CONTROLLER_MANAGER, HOST, REPLICA_IDS, SCHEDULER, Layout, node_names
from cluster.local.processes import ProcessRecord, load_record, save_record, start_detached, tail
from cluster.local.settings import Settings
from h9s.apiserver.data_dir import initialize
from h9s.errors import H9sError, UsageError

_STOP_GRACE_SECONDS = 10.0


class ProcessError(H9sError):
    """A process of the cluster could not be started, or died; the message ends with what it logged last."""


class LocalCluster:
    """The processes of the cluster in one state directory, whoever started them."""

    def __init__(self, layout: Layout, settings: Settings, *, programs: Path | None = None) -> None:
        self.layout = layout
        self.settings = settings
        self.programs = programs or Path(sys.executable).parent
        self.components = components(layout, settings, programs=self.programs)

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the workers."""
        return node_names(self.settings.workers)

    def record(self, name: str) -> ProcessRecord | None:
        """The running process of a component; None if it does not run."""
        record = load_record(self.layout.record_file(name))
        return record if record is not None and record.is_alive() else None

    def running(self) -> list[str]:
        """The names of the components that run."""
        return [name for name in self.components if self.record(name) is not None]

    def initialize_replicas(self) -> None:
        """Prepare the data directories that are still empty, as `howbe-apiserver init` does.

        Raises UsageError where one holds something else.
        """
        for replica_id in REPLICA_IDS:
            folder = self.layout.data_dir(replica_id)
            if not _has_content(folder):
                initialize(folder, cluster_id=self.settings.cluster_id, replica_id=replica_id)

    def start(self, name: str) -> bool:
        """Start a component; whether it had to be. Raises ProcessError, UsageError (a port is taken)."""
        if self.record(name) is not None:
            return False
        component = self.components[name]
        check_ports(component)
        if name in self.node_names:
            self.layout.data_dir(name).mkdir(exist_ok=True)
        try:
            record = start_detached(component.command, log=self.layout.log_file(name))
        except OSError as error:
            raise ProcessError(f"{name}: cannot run {component.command[0]}: {error.strerror}") from error
        save_record(record, self.layout.record_file(name))
        return True

    def start_all(self) -> list[str]:
        """Start whatever does not run; returns the names of what was started."""
        for name, component in self.components.items():
            if self.record(name) is None:
                check_ports(component)
        return [name for name in self.components if self.start(name)]

    def check_alive(self, names: Iterable[str] | None = None) -> None:
        """Raise ProcessError, with the tail of its log, if a component that was started has died."""
        for name in self.components if names is None else names:
            if self.record(name) is None:
                last = tail(self.layout.log_file(name)) or "(it logged nothing)"
                raise ProcessError(f"{name} has died; {self.layout.log_file(name)} ends with:\n{last}")

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to a component; whether it ran."""
        record = self.record(name)
        return record is not None and record.signal(number)

    def kill(self, *names: str) -> None:
        """SIGKILL, all at once, and wait until they are gone."""
        records = [record for name in names if (record := self.record(name)) is not None]
        for record in records:
            record.signal(signal.SIGKILL)
        for record in records:
            record.wait(10.0)

    def stop(self, *names: str) -> list[str]:
        """End components politely, all at once, by force after a while; returns those that ran."""
        records = {name: record for name in names if (record := self.record(name)) is not None}
        for record in records.values():
            record.signal(signal.SIGTERM)
        for name, record in records.items():
            record.stop(grace=_STOP_GRACE_SECONDS)
            self.layout.record_file(name).unlink(missing_ok=True)
        return list(records)

    def stop_all(self) -> list[str]:
        """End every component: those that act on pods first, so that nobody mends what is taken down."""
        recorded = [path.stem for path in sorted(self.layout.run_dir.glob("*.pid"))]
        acting = [name for name in recorded if name not in REPLICA_IDS]
        return self.stop(SCHEDULER, CONTROLLER_MANAGER, *acting) + self.stop(*REPLICA_IDS)

    def remove_pods(self) -> list[str]:
        """Stop and remove the pods of all stopped workers that have ever run; returns their names.

        Raises ProcessError with what a howbelet said, if it could not.
        """
        workers = [name for name in self.node_names if _has_content(self.layout.data_dir(name))]
        removals = {
            name: subprocess.Popen(
                [*self.components[name].command, "--remove-pods"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in workers
        }
        said = {name: removal.communicate()[0].strip() for name, removal in removals.items()}
        for name, removal in removals.items():
            if removal.returncode != 0:
                raise ProcessError(
                    f"the pods of {name} could not be removed (exit code {removal.returncode}):\n{said[name]}"
                )
        return workers


def check_ports(component: Component) -> None:
    """Raise UsageError if one of its ports is taken."""
    for port, purpose in component.ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # A listener forbids the bind; connections of an earlier run that linger do not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise UsageError(
                    f"port {port} on {HOST} ({component.name}: {purpose}) cannot be used: {error.strerror}. "
                    "Stop what listens there, or choose another --base-port"
                ) from error


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Keep others from starting or stopping the same cluster meanwhile. Raises UsageError if somebody is."""
    layout.state_dir.mkdir(parents=True, exist_ok=True)
    with layout.lock_file.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"somebody else is starting or stopping the cluster in {layout.state_dir}"
            ) from None
        yield


def wipe(layout: Layout) -> None:
    """Remove a stopped cluster's state: what h9s put into the state directory, and nothing else."""
    ours = [layout.pki_dir, layout.run_dir, layout.log_dir, layout.client_config("x").parent]
    ours += [path for path in layout.state_dir.glob("[rn][0-9]*") if path.is_dir()]
    for folder in ours:
        if folder.exists():
            shutil.rmtree(folder)
    for file in (layout.admin_config, layout.settings_file, layout.lock_file):
        file.unlink(missing_ok=True)
    if not any(layout.state_dir.iterdir()):
        os.rmdir(layout.state_dir)


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
