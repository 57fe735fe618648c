"""The Docker driver: `Runtime` on one engine. See the package's docstring for what a pod is here."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from h9s.clock import Clock
from h9s.kubelet.docker import labels, pause, translate
from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.docker.exec_session import DockerExec
from h9s.kubelet.docker.images import Images
from h9s.kubelet.observed import ObservedContainer, ObservedPod, ObservedSandbox, PodIdentity
from h9s.kubelet.runtime import (
    ContainerConfig,
    CreateContainerError,
    ExecOptions,
    ExecSession,
    GoneError,
    Image,
    LogOptions,
    RuntimeFailureError,
    RuntimeInfo,
    RuntimeUnavailableError,
    SandboxConfig,
    SandboxError,
    StartContainerError,
)

logger = logging.getLogger(__name__)

#: What can change about a pod; the engine also reports every command that somebody runs in a container.
_EVENTS = ("start", "die", "oom", "destroy")
_RECONNECT_SECONDS = 0.5


@dataclass(frozen=True)
class _Inspection:
    """What an inspection said while the container was in `status`."""

    status: str
    pod: PodIdentity
    found: ObservedContainer | ObservedSandbox
    stop_signal: str
    tty: bool


class DockerRuntime:
    """See `Runtime`."""

    name = "docker"

    def __init__(self, engine: Engine, *, owner: labels.Owner, clock: Clock) -> None:
        self._engine = engine
        self._owner = owner
        self._images = Images(engine, clock=clock)
        self._inspections: dict[str, _Inspection] = {}
        self._architecture = ""

    async def prepare(self) -> RuntimeInfo:
        """See `Runtime.prepare`: connects, and makes the sandboxes' image where it is missing."""
        await self._engine.connect()
        info = await self._engine.call("info", lambda client: client.info())
        self._architecture = str(info["Architecture"])
        try:
            image = await self._engine.call("inspect_image", lambda client: client.inspect_image(pause.IMAGE))
        except GoneError:
            image = {}
        known = (image.get("Config") or {}).get("Labels") or {}
        if known.get(pause.DIGEST_LABEL) != pause.digest(self._architecture):
            await self._make_sandbox_image()
        return translate.runtime_info(info)

    async def _make_sandbox_image(self) -> None:
        content, changes = pause.archive(self._architecture), pause.changes(self._architecture)
        await self._engine.call(
            "import_image",
            lambda client: client.import_image_from_data(
                content, repository=pause.REPOSITORY, tag=pause.TAG, changes=changes
            ),
        )

    async def close(self) -> None:
        """See `Runtime.close`."""
        self._engine.close()

    async def ensure_image(self, image: str, pull_policy: str, *, has_command: bool) -> Image:
        """See `Runtime.ensure_image` and `images`."""
        del has_command
        return await self._images.ensure(image, pull_policy)

    def caveats(self, sandbox: SandboxConfig, container: ContainerConfig) -> tuple[str, ...]:
        """See `Runtime.caveats`: an engine does it all."""
        del sandbox, container
        return ()

    # -- sandboxes and containers

    async def create_sandbox(self, config: SandboxConfig) -> str:
        """See `Runtime.create_sandbox`."""
        body = translate.sandbox_body(config, owner=self._owner, image=pause.IMAGE)
        name = labels.sandbox_name(config.pod, config.attempt)
        try:
            try:
                sandbox_id = await self._create("create_sandbox", body, name)
            except GoneError:
                # While nothing used it, somebody has cleared the image away.
                await self._make_sandbox_image()
                sandbox_id = await self._create("create_sandbox", body, name)
        except RuntimeUnavailableError:
            raise
        except RuntimeFailureError as error:
            raise SandboxError(f"cannot create the pod's sandbox: {error.message}") from error
        try:
            await self._engine.call("start_sandbox", lambda client: client.start(sandbox_id))
        except RuntimeUnavailableError:
            raise
        except RuntimeFailureError as error:
            await self.remove_sandbox(sandbox_id)
            raise SandboxError(f"cannot start the pod's sandbox: {error.message}") from error
        return sandbox_id

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """See `Runtime.remove_sandbox`."""
        await self.remove_container(sandbox_id)

    async def create_container(self, config: ContainerConfig) -> str:
        """See `Runtime.create_container`."""
        body = translate.container_body(config, owner=self._owner)
        name = labels.container_name(config.pod, config.name, config.attempt)
        try:
            return await self._create("create_container", body, name)
        except (RuntimeUnavailableError, GoneError):
            raise
        except RuntimeFailureError as error:
            raise CreateContainerError(error.message) from error

    async def _create(self, operation: str, body: dict[str, Any], name: str) -> str:
        created = await self._engine.call(
            operation, lambda client: client.create_container_from_config(body, name)
        )
        return str(created["Id"])

    async def start_container(self, container_id: str) -> None:
        """See `Runtime.start_container`."""
        try:
            await self._engine.call("start_container", lambda client: client.start(container_id))
        except (RuntimeUnavailableError, GoneError):
            raise
        except RuntimeFailureError as error:
            raise StartContainerError(error.message) from error
        finally:
            self._inspections.pop(container_id, None)

    async def terminate_container(self, container_id: str) -> None:
        """See `Runtime.terminate_container`."""
        inspection = self._inspections.get(container_id) or await self._inspect(container_id, "")
        await self._signal(container_id, inspection.stop_signal)

    async def kill_container(self, container_id: str) -> None:
        """See `Runtime.kill_container`."""
        await self._signal(container_id, "SIGKILL")

    async def _signal(self, container_id: str, name: str) -> None:
        try:
            await self._engine.call("kill", lambda client: client.kill(container_id, name))
        except (RuntimeUnavailableError, GoneError):
            raise
        except RuntimeFailureError as error:
            if "is not running" not in error.message:
                raise

    async def remove_container(self, container_id: str) -> None:
        """See `Runtime.remove_container`."""
        try:
            await self._engine.call(
                "remove", lambda client: client.remove_container(container_id, v=True, force=True)
            )
        except GoneError:
            return
        except RuntimeFailureError as error:
            if "is already in progress" not in error.message:
                raise

    # -- looking

    async def observe(self, pod_uid: str) -> ObservedPod:
        """See `Runtime.observe`."""
        found = await self._list(self._owner.pod_filters(pod_uid))
        return found.get(pod_uid) or ObservedPod(PodIdentity(pod_uid, "", ""))

    async def observe_all(self) -> dict[str, ObservedPod]:
        """See `Runtime.observe_all`."""
        found = await self._list(self._owner.filters())
        present = {sandbox.id for pod in found.values() for sandbox in pod.sandboxes}
        present |= {container.id for pod in found.values() for container in pod.containers}
        for stale in self._inspections.keys() - present:
            del self._inspections[stale]
        return found

    async def _list(self, filters: list[str]) -> dict[str, ObservedPod]:
        listed = await self._engine.call(
            "list", lambda client: client.containers(all=True, filters={"label": filters})
        )
        # What is being removed is as good as gone.
        there = [entry for entry in listed if entry["State"] != "removing"]
        inspections = await asyncio.gather(*(self._inspect_listed(entry) for entry in there))
        return _by_pod(inspection for inspection in inspections if inspection is not None)

    async def _inspect_listed(self, entry: Mapping[str, Any]) -> _Inspection | None:
        """An inspection made in the state that the list says; None if it has gone meanwhile."""
        known = self._inspections.get(entry["Id"])
        if known is not None and known.status == entry["State"]:
            return known
        try:
            return await self._inspect(entry["Id"], entry["State"])
        except GoneError:
            return None

    async def _inspect(self, container_id: str, status: str) -> _Inspection:
        inspected = await self._engine.call("inspect", lambda client: client.inspect_container(container_id))
        config = inspected["Config"]
        is_sandbox = config["Labels"][labels.ROLE] == labels.SANDBOX_ROLE
        inspection = _Inspection(
            status,
            labels.pod_identity(config["Labels"]),
            translate.observed_sandbox(inspected) if is_sandbox else translate.observed_container(inspected),
            str(config.get("StopSignal") or "SIGTERM"),
            bool(config.get("Tty")),
        )
        if status:
            self._inspections[container_id] = inspection
        return inspection

    async def events(self) -> AsyncGenerator[str, None]:
        """See `Runtime.events`."""
        query = {"filters": translate.event_filters(self._owner.filters(), _EVENTS)}
        while True:
            try:
                request = self._engine.streams.request("GET", "/events", query=query)
                async with request as response, aclosing(response.json_lines()) as lines:
                    yield ""
                    async for line in lines:
                        actor = line["Actor"]
                        self._inspections.pop(actor["ID"], None)
                        yield actor["Attributes"][labels.POD_UID]
                logger.warning("the Docker Engine ended its events; asking again")
            except RuntimeFailureError as error:
                logger.warning("no events from the Docker Engine: %s", error.message)
            await asyncio.sleep(_RECONNECT_SECONDS)

    # -- into a container

    async def logs(self, container_id: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See `Runtime.logs`."""
        inspection = self._inspections.get(container_id) or await self._inspect(container_id, "")
        query = translate.log_query(options)
        request = self._engine.streams.request("GET", f"/containers/{container_id}/logs", query=query)
        async with request as response:
            if inspection.tty:
                async with aclosing(response.pieces()) as pieces:
                    async for piece in pieces:
                        yield piece
            else:
                line_ended = {False: True, True: True}
                async with aclosing(response.frames()) as frames:
                    async for frame in frames:
                        # The engine cuts long lines, and puts a time before each part.
                        begins, line_ended[frame.is_stderr] = (
                            line_ended[frame.is_stderr],
                            frame.data.endswith(b"\n"),
                        )
                        is_stamped = options.timestamps and not begins
                        yield frame.data.partition(b" ")[2] if is_stamped else frame.data

    async def exec(self, container_id: str, options: ExecOptions) -> ExecSession:
        """See `Runtime.exec`."""
        return await DockerExec.start(self._engine, container_id, options)


def _by_pod(inspections: Iterable[_Inspection]) -> dict[str, ObservedPod]:
    sandboxes: defaultdict[str, list[ObservedSandbox]] = defaultdict(list)
    containers: defaultdict[str, list[ObservedContainer]] = defaultdict(list)
    pods: dict[str, PodIdentity] = {}
    for inspection in inspections:
        pods[inspection.pod.uid] = inspection.pod
        if isinstance(inspection.found, ObservedSandbox):
            sandboxes[inspection.pod.uid].append(inspection.found)
        else:
            containers[inspection.pod.uid].append(inspection.found)
    return {
        uid: ObservedPod(
            pod,
            tuple(sorted(sandboxes[uid], key=lambda sandbox: sandbox.attempt)),
            tuple(sorted(containers[uid], key=lambda container: (container.name, container.attempt))),
        )
        for uid, pod in pods.items()
    }
