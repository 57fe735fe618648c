"""The seam between the howbelet and what runs containers: one small interface for all drivers.

A driver does single steps and says what there is. It decides nothing: no restarts, no back-off, no
clean-up of its own. Everything it makes carries enough labels to be found again by a restarted
howbelet, and none of what another howbelet on the same machine made is ever listed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from h9s.errors import H9sError
from h9s.kubelet.observed import ObservedPod, PodIdentity


class RuntimeFailureError(H9sError):
    """The runtime could not do a step. `waiting_reason` is what a waiting container shows for it."""

    reason = "RuntimeFailure"
    waiting_reason = "RuntimeFailure"


class RuntimeUnavailableError(RuntimeFailureError):
    """The runtime itself does not answer; nothing is known about its pods."""

    reason = "RuntimeUnavailable"


class GoneError(RuntimeFailureError):
    """The sandbox or container of that id does not exist (any more)."""

    reason = "Gone"


class SandboxError(RuntimeFailureError):
    """The pod's sandbox could not be made."""

    waiting_reason = "ContainerCreating"


class CreateContainerError(RuntimeFailureError):
    """The runtime refused to make the container."""

    waiting_reason = "CreateContainerError"


class StartContainerError(RuntimeFailureError):
    """The container was made but its program could not be started; it is observed as EXITED with the
    reason ContainerCannotRun."""

    waiting_reason = "RunContainerError"


class ImagePullError(RuntimeFailureError):
    """There is no image to run. `waiting_reason` is ErrImagePull or ErrImageNeverPull."""

    def __init__(self, waiting_reason: str, message: str) -> None:
        super().__init__(message)
        self.waiting_reason = waiting_reason


@dataclass(frozen=True)
class RuntimeInfo:
    """What a node reports about the machine and the runtime."""

    #: `docker://20.10.24`
    version: str
    cpu_millis: int
    memory_bytes: int
    kernel_version: str
    os_image: str
    operating_system: str
    #: As Go names it: amd64, arm64.
    architecture: str


@dataclass(frozen=True)
class Image:
    """An image that is there. `pulled`: just now, from its registry. `warning`: what the user should
    know about how it was come by, "" if nothing."""

    id: str
    pulled: bool = False
    warning: str = ""


@dataclass(frozen=True)
class PortMapping:
    """A port of the machine that leads to one of the pod's. Protocol is TCP or UDP."""

    container_port: int
    host_port: int
    host_ip: str
    protocol: str


@dataclass(frozen=True)
class SandboxConfig:
    """What a sandbox is made from."""

    pod: PodIdentity
    attempt: int
    hostname: str
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True)
class ContainerConfig:
    """What a container is made from; all references are resolved."""

    pod: PodIdentity
    name: str
    attempt: int
    sandbox_id: str
    image: str
    image_id: str
    #: Empty: the image's ENTRYPOINT, and its CMD where `args` is empty too.
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    #: 0: no limit, nothing asked for.
    cpu_limit_millis: int = 0
    cpu_request_millis: int = 0
    memory_limit_bytes: int = 0
    stdin: bool = False
    tty: bool = False
    spec_hash: str = ""
    grace_seconds: int = 30


@dataclass(frozen=True)
class LogOptions:
    """Which part of a container's output. `since`: seconds since 1970; `tail_lines` None: all."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: float | None = None


@dataclass(frozen=True)
class ExecOptions:
    """A further process in a running container. Columns and rows matter with a terminal only."""

    command: Sequence[str]
    stdin: bool = False
    tty: bool = False
    columns: int = 0
    rows: int = 0


@dataclass(frozen=True)
class ExecOutput:
    """A piece of output; with a terminal everything is stdout."""

    data: bytes
    is_stderr: bool = False


class ExecSession(Protocol):
    """A process started by `Runtime.exec`. Must be closed."""

    def output(self) -> AsyncGenerator[ExecOutput, None]:
        """All output until the process ends; to be iterated once."""
        ...

    async def write(self, data: bytes) -> None:
        """Feed its standard input; returns when more can be taken. Does nothing once it has ended."""
        ...

    async def close_stdin(self) -> None:
        """End its standard input."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tell it the terminal's new size."""
        ...

    async def exit_code(self) -> int:
        """Its exit code, once `output` has ended."""
        ...

    async def close(self) -> None:
        """Let go of it. A process that still runs is left to the runtime's habits."""
        ...


class Runtime(Protocol):
    """A driver. Every method may raise RuntimeUnavailableError; those that name an id, GoneError.

    A step that was cut off (cancelled, timed out) may have happened: sandboxes and containers are
    named by pod, name and attempt, so a repetition meets what is there and is never a second copy.
    """

    #: `docker`, `process`: the scheme of container ids and of the version.
    name: str

    async def prepare(self) -> RuntimeInfo:
        """Make ready whatever is needed before the first pod, and say what there is to give."""
        ...

    async def close(self) -> None:
        """Let go of the runtime; the pods stay."""
        ...

    async def ensure_image(self, image: str, pull_policy: str, *, has_command: bool) -> Image:
        """Have the image, by the policy (Always, IfNotPresent or Never). Raises ImagePullError.

        `has_command`: the container brings its command; a driver without images can do with that.
        """
        ...

    def caveats(self, sandbox: SandboxConfig, container: ContainerConfig) -> Sequence[str]:
        """What the driver will not do of what is asked for, for people; empty if nothing."""
        ...

    async def create_sandbox(self, config: SandboxConfig) -> str:
        """Make and start a sandbox; gives its id. Raises SandboxError, leaving nothing behind."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill and remove a sandbox. Nothing happens if it is gone."""
        ...

    async def create_container(self, config: ContainerConfig) -> str:
        """Make a container without starting it; gives its id. Raises CreateContainerError; GoneError
        if its sandbox is gone."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Start a CREATED container. Raises StartContainerError."""
        ...

    async def terminate_container(self, container_id: str) -> None:
        """Ask it to end (SIGTERM, or the image's own stop signal). Does not wait."""
        ...

    async def kill_container(self, container_id: str) -> None:
        """SIGKILL. Does not wait."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Remove a container and its output, killing it if need be. Nothing happens if it is gone."""
        ...

    async def observe(self, pod_uid: str) -> ObservedPod:
        """What there is of one pod; empty if nothing."""
        ...

    async def observe_all(self) -> dict[str, ObservedPod]:
        """Every pod of this node of which anything is left, by uid."""
        ...

    def events(self) -> AsyncGenerator[str, None]:
        """The uid of a pod whenever something of it changed; "" when changes may have been missed (at
        the start, and after every reconnection). Never ends, never raises."""
        ...

    def logs(self, container_id: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """A container's output, both streams in the order of arrival. Following ends with the container."""
        ...

    async def exec(self, container_id: str, options: ExecOptions) -> ExecSession:
        """Run a command in a running container. Raises RuntimeFailureError if it cannot be started."""
        ...
