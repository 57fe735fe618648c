"""A container runtime in memory: pods are entries in a dictionary, and everything happens at once.

Tests and simulations reach in from the other side as the outside world would: a container exits, is
killed or removed, the engine goes away. It keeps the contract of `h9s.kubelet.runtime.Runtime`, and
counts breaches of it: two runs of one container at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from h9s.clock import Clock
from h9s.kubelet.observed import (
    CANNOT_RUN,
    COMPLETED,
    ERROR,
    EXIT_KILLED,
    ObservedContainer,
    ObservedPod,
    ObservedSandbox,
    PodIdentity,
    State,
)
from h9s.kubelet.runtime import (
    ContainerConfig,
    CreateContainerError,
    ExecOptions,
    ExecSession,
    GoneError,
    Image,
    ImagePullError,
    LogOptions,
    RuntimeFailureError,
    RuntimeInfo,
    RuntimeUnavailableError,
    SandboxConfig,
    StartContainerError,
)

_TERMINATED = 143


class FakeRuntime:
    """See `Runtime`. Every image exists but those in `missing_images`."""

    name = "fake"

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._sandboxes: dict[str, tuple[PodIdentity, ObservedSandbox]] = {}
        self._containers: dict[str, tuple[PodIdentity, ObservedContainer]] = {}
        self._output: dict[str, list[bytes]] = {}
        self._listeners: list[asyncio.Queue[str]] = []
        self._addresses = 0
        #: Images that nobody has.
        self.missing_images: set[str] = set()
        #: Images whose program cannot be started.
        self.broken_images: set[str] = set()
        #: Containers, by name, that do nothing on SIGTERM.
        self.stubborn: set[str] = set()
        #: Called with the name of every operation before it is done; may raise.
        self.before: Callable[[str], None] = lambda operation: None
        #: What `caveats` says.
        self.warnings: list[str] = []
        self.available = True
        #: Whether nobody is told of changes.
        self.is_mute = False
        #: Every operation that was done, in order, for assertions.
        self.operations: list[str] = []
        self.configs: dict[str, ContainerConfig] = {}

    async def prepare(self) -> RuntimeInfo:
        """See `Runtime.prepare`."""
        self._begin("prepare")
        return RuntimeInfo("fake://1", 4000, 8 << 30, "6.1", "Fake OS", "linux", "amd64")

    async def close(self) -> None:
        """See `Runtime.close`."""

    def caveats(self, sandbox: SandboxConfig, container: ContainerConfig) -> list[str]:
        """See `Runtime.caveats`."""
        del sandbox, container
        return self.warnings

    async def ensure_image(self, image: str, pull_policy: str, *, has_command: bool) -> Image:
        """See `Runtime.ensure_image`."""
        del has_command
        self._begin("ensure_image")
        if image in self.missing_images:
            reason = "ErrImageNeverPull" if pull_policy == "Never" else "ErrImagePull"
            raise ImagePullError(reason, f"nobody has an image {image}")
        return Image(f"sha256:{image}")

    async def create_sandbox(self, config: SandboxConfig) -> str:
        """See `Runtime.create_sandbox`."""
        self._begin("create_sandbox")
        sandbox_id = f"sandbox-{config.pod.uid}-{config.attempt}"
        if sandbox_id in self._sandboxes:
            raise RuntimeFailureError(f"there is a {sandbox_id} already")
        self._addresses += 1
        address = f"10.0.{self._addresses // 250}.{self._addresses % 250 + 1}"
        sandbox = ObservedSandbox(sandbox_id, config.attempt, ready=True, address=address)
        self._sandboxes[sandbox_id] = (config.pod, replace(sandbox, created_at=self._clock.wall()))
        self._notify(config.pod.uid)
        return sandbox_id

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """See `Runtime.remove_sandbox`."""
        self._begin("remove_sandbox")
        if found := self._sandboxes.pop(sandbox_id, None):
            self._notify(found[0].uid)

    async def create_container(self, config: ContainerConfig) -> str:
        """See `Runtime.create_container`."""
        self._begin("create_container")
        if config.sandbox_id not in self._sandboxes:
            raise GoneError(f"there is no sandbox {config.sandbox_id}")
        container_id = f"{config.name}-{config.pod.uid}-{config.attempt}"
        if container_id in self._containers:
            raise CreateContainerError(f"there is a container {container_id} already")
        container = ObservedContainer(
            id=container_id,
            name=config.name,
            attempt=config.attempt,
            state=State.CREATED,
            sandbox_id=config.sandbox_id,
            image=config.image,
            image_id=config.image_id,
            spec_hash=config.spec_hash,
            grace_seconds=config.grace_seconds,
            created_at=self._clock.wall(),
        )
        self._containers[container_id] = (config.pod, container)
        self.configs[container_id] = config
        self._notify(config.pod.uid)
        return container_id

    async def start_container(self, container_id: str) -> None:
        """See `Runtime.start_container`. Fails loudly where a run of the container runs already."""
        self._begin("start_container")
        pod, container = self._container(container_id)
        twins = [
            other
            for owner, other in self._containers.values()
            if owner.uid == pod.uid and other.name == container.name and other.state is State.RUNNING
        ]
        assert not twins, f"{container.name} of {pod} runs already, as attempt {twins[0].attempt}"
        if container.image in self.broken_images:
            message = f"{container.image} has no program that can be run"
            self._end(container_id, 127, reason=CANNOT_RUN, message=message)
            raise StartContainerError(message)
        self._set(container_id, replace(container, state=State.RUNNING, started_at=self._clock.wall()))

    async def terminate_container(self, container_id: str) -> None:
        """See `Runtime.terminate_container`."""
        self._begin("terminate_container")
        _, container = self._container(container_id)
        if container.name not in self.stubborn:
            self._end(container_id, _TERMINATED)

    async def kill_container(self, container_id: str) -> None:
        """See `Runtime.kill_container`."""
        self._begin("kill_container")
        self._end(container_id, EXIT_KILLED)

    async def remove_container(self, container_id: str) -> None:
        """See `Runtime.remove_container`."""
        self._begin("remove_container")
        if found := self._containers.pop(container_id, None):
            self._notify(found[0].uid)

    async def observe(self, pod_uid: str) -> ObservedPod:
        """See `Runtime.observe`."""
        self._begin("observe")
        return self._observe(pod_uid)

    async def observe_all(self) -> dict[str, ObservedPod]:
        """See `Runtime.observe_all`."""
        self._begin("observe_all")
        owners = [pod for pod, _ in (*self._sandboxes.values(), *self._containers.values())]
        return {pod.uid: self._observe(pod.uid) for pod in owners}

    async def events(self) -> AsyncGenerator[str, None]:
        """See `Runtime.events`."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield ""
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def logs(self, container_id: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See `Runtime.logs`; following is not supported."""
        self._begin("logs")
        self._container(container_id)
        lines = self._output.get(container_id, [])
        for line in lines if options.tail_lines is None else lines[-options.tail_lines :]:
            yield line

    async def exec(self, container_id: str, options: ExecOptions) -> ExecSession:
        """See `Runtime.exec`: nothing can be run here."""
        self._begin("exec")
        raise RuntimeFailureError(f"cannot run {options.command} in {container_id}: it has no processes")

    # -- the outside world

    def exit(self, container_id: str, code: int = 0, *, reason: str = "") -> None:
        """The container's program ends by itself, or is killed (137)."""
        self._end(container_id, code, reason=reason)

    def lose_container(self, container_id: str) -> None:
        """Somebody removes a container."""
        pod, _ = self._containers.pop(container_id)
        self._notify(pod.uid)

    def lose_sandbox(self, sandbox_id: str, *, leave_dead: bool = False) -> None:
        """Somebody kills (and removes) a sandbox."""
        pod, sandbox = self._sandboxes.pop(sandbox_id)
        if leave_dead:
            self._sandboxes[sandbox_id] = (pod, replace(sandbox, ready=False, address=""))
        self._notify(pod.uid)

    def write(self, container_id: str, line: bytes) -> None:
        """The container's program writes a line."""
        self._output.setdefault(container_id, []).append(line)

    def running(self) -> list[ObservedContainer]:
        """Whatever runs."""
        return [one for _, one in self._containers.values() if one.state is State.RUNNING]

    def everything(self, pod_uid: str) -> ObservedPod:
        """`observe`, for assertions."""
        return self._observe(pod_uid)

    # -- inside

    def _begin(self, operation: str) -> None:
        if not self.available:
            raise RuntimeUnavailableError("the fake runtime is away")
        self.before(operation)
        self.operations.append(operation)

    def _container(self, container_id: str) -> tuple[PodIdentity, ObservedContainer]:
        try:
            return self._containers[container_id]
        except KeyError:
            raise GoneError(f"there is no container {container_id}") from None

    def _set(self, container_id: str, container: ObservedContainer) -> None:
        pod, _ = self._containers[container_id]
        self._containers[container_id] = (pod, container)
        self._notify(pod.uid)

    def _end(self, container_id: str, code: int, *, reason: str = "", message: str = "") -> None:
        _, container = self._container(container_id)
        if container.state is State.EXITED:
            return
        ended = replace(
            container,
            state=State.EXITED,
            exit_code=code,
            reason=reason or (ERROR if code else COMPLETED),
            message=message,
            finished_at=self._clock.wall(),
        )
        self._set(container_id, ended)

    def _observe(self, pod_uid: str) -> ObservedPod:
        sandboxes = [(pod, box) for pod, box in self._sandboxes.values() if pod.uid == pod_uid]
        containers = [(pod, one) for pod, one in self._containers.values() if pod.uid == pod_uid]
        owners = [pod for pod, _ in (*sandboxes, *containers)]
        return ObservedPod(
            owners[0] if owners else PodIdentity(pod_uid, "", ""),
            tuple(box for _, box in sandboxes),
            tuple(one for _, one in containers),
        )

    def _notify(self, pod_uid: str) -> None:
        for queue in () if self.is_mute else self._listeners:
            queue.put_nowait(pod_uid)
