"""The process driver: `Runtime` on this machine's own processes. See the package's docstring.

Its files are small and local: reading them takes tens of microseconds and is done on the event loop.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from h9s.clock import Clock
from h9s.kubelet import metrics
from h9s.kubelet.observed import CANNOT_RUN, ObservedContainer, ObservedPod, ObservedSandbox
from h9s.kubelet.process import images, records
from h9s.kubelet.process.addresses import Addresses
from h9s.kubelet.process.exec_session import ProcessExec
from h9s.kubelet.process.logs import read_log
from h9s.kubelet.process.machine import machine_info
from h9s.kubelet.process.observation import observed_container, send_signal, signal_group
from h9s.kubelet.process.records import ContainerId, PodDirectory, read_json, write_json
from h9s.kubelet.process.watcher import ProcessWatcher
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
    SandboxConfig,
    SandboxError,
    StartContainerError,
)

_SHIM = Path(__file__).resolve().parent / "shim.py"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProcessRuntime:
    """See `Runtime`."""

    name = "process"

    def __init__(self, root: Path, *, addresses: Path, clock: Clock) -> None:
        """`root`: this node's directory; `addresses`: the one that all howbelets of the machine share."""
        self._root = root.resolve()
        self._addresses = Addresses(addresses)
        self._clock = clock
        self._watcher = ProcessWatcher()
        self._events: asyncio.Queue[str] = asyncio.Queue()

    async def prepare(self) -> RuntimeInfo:
        """See `Runtime.prepare`: takes up the containers that an earlier howbelet has started."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._events.put_nowait("")
        await self.observe_all()
        for pod in records.pod_directories(self._root):
            if any(pod.sandboxes()):
                # The shared directory may have been cleared since, by a restart of the machine.
                self._addresses.reserve(pod.uid, pod.path)
        return machine_info()

    async def close(self) -> None:
        """See `Runtime.close`."""
        self._watcher.close()

    async def ensure_image(self, image: str, pull_policy: str, *, has_command: bool) -> Image:
        """See `Runtime.ensure_image`: there are programs instead, see `images`."""
        del pull_policy
        if images.find(image) is not None:
            return Image(f"program:{image}")
        if not has_command:
            raise ImagePullError("ErrImagePull", images.explanation(image))
        return Image(
            f"none:{image}",
            warning=f"the process runtime has no image {image!r}: this machine's own programs are run",
        )

    def caveats(self, sandbox: SandboxConfig, container: ContainerConfig) -> list[str]:
        """See `Runtime.caveats`."""
        found = []
        if container.cpu_limit_millis or container.memory_limit_bytes:
            found.append("the process runtime does not enforce cpu and memory limits")
        if sandbox.ports:
            found.append("the process runtime maps no host ports: use the pod's own address")
        return found

    # -- sandboxes

    async def create_sandbox(self, config: SandboxConfig) -> str:
        """See `Runtime.create_sandbox`: reserves the pod's address."""
        pod = PodDirectory(self._root, config.pod.uid)
        with metrics.OPERATION_SECONDS.labels("create_sandbox").time(), _as_failure(SandboxError, "sandbox"):
            pod.work.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_json(pod.path / "pod.json", {"namespace": config.pod.namespace, "name": config.pod.name})
            address = self._addresses.reserve(config.pod.uid, pod.path)
            record = {"hostname": config.hostname, "address": address, "at": self._clock.wall()}
            write_json(pod.sandbox(config.attempt), record)
        return f"{config.pod.uid}.{config.attempt}"

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """See `Runtime.remove_sandbox`."""
        uid, _, attempt = sandbox_id.rpartition(".")
        pod = PodDirectory(self._root, uid)
        record = read_json(pod.sandbox(int(attempt)))
        pod.sandbox(int(attempt)).unlink(missing_ok=True)
        if record is not None and not any(pod.sandboxes()):
            self._addresses.release(record["address"], pod.path)
        self._clean_up(pod)

    # -- containers

    async def create_container(self, config: ContainerConfig) -> str:
        """See `Runtime.create_container`."""
        pod = PodDirectory(self._root, config.pod.uid)
        sandbox_uid, _, sandbox_attempt = config.sandbox_id.rpartition(".")
        sandbox = read_json(PodDirectory(self._root, sandbox_uid).sandbox(int(sandbox_attempt)))
        if sandbox is None:
            raise GoneError(f"there is no sandbox {config.sandbox_id}")
        cwd = pod.work / config.working_dir.lstrip("/")
        directory = pod.container(config.name, config.attempt)
        environment = {
            "PATH": _PATH,
            "HOSTNAME": sandbox["hostname"],
            "HOME": str(pod.work),
            "POD_IP": sandbox["address"],
        }
        record = {
            "argv": images.command_line(config.image, config.command, config.args),
            "env": environment | dict(config.env),
            "cwd": str(cwd),
            "stdin": config.stdin,
            "tty": config.tty,
            "image": config.image,
            "image_id": config.image_id,
            "sandbox_id": config.sandbox_id,
            "spec_hash": config.spec_hash,
            "grace_seconds": config.grace_seconds,
            "at": self._clock.wall(),
        }
        with _as_failure(CreateContainerError, f"container {config.name}"):
            cwd.mkdir(parents=True, exist_ok=True)
            write_json(directory / "config.json", record)
        return str(ContainerId(config.pod.uid, config.name, config.attempt))

    async def start_container(self, container_id: str) -> None:
        """See `Runtime.start_container`: leaves a shim, which starts the program and stays with it."""
        directory = self._directory(container_id)
        failing = _as_failure(StartContainerError, "cannot start a shim")
        with metrics.OPERATION_SECONDS.labels("start_container").time(), failing:
            process = await asyncio.create_subprocess_exec(
                *images.PYTHON,
                str(_SHIM),
                str(directory),
                stdin=asyncio.subprocess.DEVNULL,
                env={"PATH": _PATH},
                start_new_session=True,
            )
            await process.wait()
        ended = read_json(directory / "exit.json")
        if ended is not None and ended["reason"] == CANNOT_RUN:
            metrics.OPERATION_ERRORS.labels("start_container", CANNOT_RUN).inc()
            raise StartContainerError(ended["message"])
        if process.returncode and read_json(directory / "shim.json") is None:
            raise CreateContainerError(f"its shim failed: {_shim_error(directory)}")
        self._look_after(ContainerId.parse(container_id).pod_uid, directory)

    async def terminate_container(self, container_id: str) -> None:
        """See `Runtime.terminate_container`: the main process alone is asked, as by an engine."""
        self._signal(self._directory(container_id), signal.SIGTERM, send_signal)

    async def kill_container(self, container_id: str) -> None:
        """See `Runtime.kill_container`."""
        self._signal(self._directory(container_id), signal.SIGKILL, signal_group)

    async def remove_container(self, container_id: str) -> None:
        """See `Runtime.remove_container`."""
        parsed = ContainerId.parse(container_id)
        pod = PodDirectory(self._root, parsed.pod_uid)
        directory = pod.container(parsed.name, parsed.attempt)
        self._signal(directory, signal.SIGKILL, signal_group)
        # The shim may be writing its last files; without a configuration the rest is nothing.
        (directory / "config.json").unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        self._clean_up(pod)

    # -- looking

    async def observe(self, pod_uid: str) -> ObservedPod:
        """See `Runtime.observe`."""
        pod = PodDirectory(self._root, pod_uid)
        sandboxes = [
            ObservedSandbox(f"{pod_uid}.{attempt}", attempt, True, record["address"], record["at"])
            for attempt, path in pod.sandboxes()
            if (record := read_json(path)) is not None
        ]
        containers = [
            self._observe_container(ContainerId(pod_uid, name, attempt), directory, config)
            for name, attempt, directory in pod.containers()
            if (config := read_json(directory / "config.json")) is not None
        ]
        return ObservedPod(pod.identity(), tuple(sandboxes), tuple(containers))

    async def observe_all(self) -> dict[str, ObservedPod]:
        """See `Runtime.observe_all`."""
        found = {pod.uid: await self.observe(pod.uid) for pod in records.pod_directories(self._root)}
        return {uid: pod for uid, pod in found.items() if not pod.is_empty}

    def _observe_container(
        self, container_id: ContainerId, directory: Path, config: dict[str, Any]
    ) -> ObservedContainer:
        # The shim is looked at first: it writes how the container ended before it leaves.
        is_alive = self._look_after(container_id.pod_uid, directory)
        return observed_container(container_id, directory, config, shim_is_alive=is_alive, clock=self._clock)

    async def events(self) -> AsyncGenerator[str, None]:
        """See `Runtime.events`."""
        while True:
            yield await self._events.get()

    # -- into a container

    async def logs(self, container_id: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See `Runtime.logs`."""
        async with aclosing(read_log(self._directory(container_id), options)) as pieces:
            async for piece in pieces:
                yield piece

    async def exec(self, container_id: str, options: ExecOptions) -> ExecSession:
        """See `Runtime.exec`."""
        directory = self._directory(container_id)
        if read_json(directory / "start.json") is None or (directory / "exit.json").exists():
            raise RuntimeFailureError(f"container {container_id} is not running")
        config = read_json(directory / "config.json") or {}
        return await ProcessExec.start(options, env=config["env"], cwd=Path(config["cwd"]))

    # -- inside

    def _directory(self, container_id: str) -> Path:
        parsed = ContainerId.parse(container_id)
        directory = PodDirectory(self._root, parsed.pod_uid).container(parsed.name, parsed.attempt)
        if not (directory / "config.json").exists():
            raise GoneError(f"there is no container {container_id}")
        return directory

    def _look_after(self, pod_uid: str, directory: Path) -> bool:
        """Have an event when the container's shim ends; whether it lives."""
        shim = read_json(directory / "shim.json")
        return shim is not None and self._watcher.watch(shim, lambda: self._events.put_nowait(pod_uid))

    def _signal(
        self, directory: Path, number: signal.Signals, send: Callable[[dict[str, Any], signal.Signals], None]
    ) -> None:
        started = read_json(directory / "start.json")
        if started is not None and not (directory / "exit.json").exists():
            send(started, number)

    def _clean_up(self, pod: PodDirectory) -> None:
        if not any(pod.sandboxes()) and not any(pod.containers()):
            shutil.rmtree(pod.path, ignore_errors=True)


def _shim_error(directory: Path) -> str:
    """The last line of what a shim has left of its failure."""
    path = directory / "shim.err"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return lines[-1] if lines else "it left no reason"


@contextmanager
def _as_failure(error_class: type[RuntimeFailureError], doing: str) -> Iterator[None]:
    """What the operating system refuses is the runtime's failure, not the howbelet's."""
    try:
        yield
    except OSError as error:
        raise error_class(f"{doing}: {error}") from error
