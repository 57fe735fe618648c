"""What a runtime has, as immutable snapshots. Decisions are taken from these and from nothing else.

All times are seconds since 1970 on this machine's clock.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

COMPLETED = "Completed"
ERROR = "Error"
OOM_KILLED = "OOMKilled"
#: It was created but its program could not be started.
CANNOT_RUN = "ContainerCannotRun"
#: It vanished without leaving an exit code.
STATUS_UNKNOWN = "ContainerStatusUnknown"

#: The exit code of a process that SIGKILL ended, and of one whose end nobody saw.
EXIT_KILLED = 137


class PodIdentity(NamedTuple):
    """Which pod. The uid alone identifies it; the names are for people."""

    uid: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class State(enum.Enum):
    """Where in its life a container is; it only moves forward."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class ObservedSandbox:
    """What holds a pod's address and network. `ready`: it lives, and containers can join it."""

    id: str
    attempt: int
    ready: bool
    address: str = ""
    created_at: float = 0.0


@dataclass(frozen=True)
class ObservedContainer:
    """One run of a container; a restart makes another one with the next `attempt`, from 0."""

    id: str
    name: str
    attempt: int
    state: State
    sandbox_id: str = ""
    image: str = ""
    image_id: str = ""
    #: Of the container's spec that it was made from.
    spec_hash: str = ""
    #: How long it may take to end after SIGTERM; the howbelet may no longer know the pod's spec.
    grace_seconds: int = 30
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    #: While EXITED: Completed, Error, OOMKilled, ContainerCannotRun or ContainerStatusUnknown.
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ObservedPod:
    """Everything that a runtime has of one pod, dead or alive."""

    identity: PodIdentity
    sandboxes: tuple[ObservedSandbox, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()

    def newest(self, name: str) -> ObservedContainer | None:
        """The container of that name with the highest attempt."""
        mine = (container for container in self.containers if container.name == name)
        return max(mine, key=lambda container: container.attempt, default=None)

    def newest_run(self, name: str) -> ObservedContainer | None:
        """The same among those that were started."""
        mine = (run for run in self.containers if run.name == name and run.state is not State.CREATED)
        return max(mine, key=lambda run: run.attempt, default=None)

    @property
    def sandbox(self) -> ObservedSandbox | None:
        """The newest sandbox that is ready."""
        ready = [sandbox for sandbox in self.sandboxes if sandbox.ready]
        return max(ready, key=lambda sandbox: sandbox.attempt, default=None)

    @property
    def running(self) -> tuple[ObservedContainer, ...]:
        """The containers that run."""
        return tuple(container for container in self.containers if container.state is State.RUNNING)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of it."""
        return not self.sandboxes and not self.containers
