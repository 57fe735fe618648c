"""Images by their pull policy.

Never and IfNotPresent are Kubernetes'. Always asks the registry every time, as there; but where the
pull fails and the image is on this machine, that one is used, and the pod gets a Warning event that
says so. Kubernetes would not start the pod; but a manifest that names an image without a tag means
Always, and has to run on machines that reach no registry. The wait for a registry is short when there
is something to fall back on, and one that failed is left alone for a while.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import docker.auth
import docker.errors

from h9s.clock import Clock
from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.runtime import (
    GoneError,
    Image,
    ImagePullError,
    RuntimeFailureError,
    RuntimeUnavailableError,
)

#: How long a registry may take to say anything about an image that is on this machine already.
_PATIENCE_SECONDS = 3.0
#: How long a registry that could not be reached is left alone.
_AVOID_SECONDS = 60.0
#: A pull that says nothing for so long has died.
_STALL_SECONDS = 300.0
_DEFAULT_REGISTRY = "docker.io"
#: The registry has answered, with no.
_REFUSED = re.compile(r"not found|denied|unauthorized|manifest unknown|does not exist", re.IGNORECASE)


def parse_reference(image: str) -> tuple[str, str, str]:
    """(registry, repository with its registry if it names one, tag or digest)."""
    repository, _, digest = image.partition("@")
    head, slash, tail = repository.rpartition("/")
    name, _, tag = tail.partition(":")
    first = repository.partition("/")[0]
    is_registry = "/" in repository and ("." in first or ":" in first or first == "localhost")
    registry = first if is_registry else _DEFAULT_REGISTRY
    return registry, head + slash + name, digest or tag or "latest"


class Images:
    """The images of one engine. Pulls of the same image under way at the same time are one pull."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._avoided_until: dict[str, float] = {}
        self._failures: dict[str, str] = {}

    async def ensure(self, image: str, pull_policy: str) -> Image:
        """See `Runtime.ensure_image`."""
        image_id = await self._find(image)
        if pull_policy == "Never":
            if image_id is None:
                raise ImagePullError(
                    "ErrImageNeverPull", f"image {image} is not on this machine, and imagePullPolicy is Never"
                )
            return Image(image_id)
        if pull_policy != "Always" and image_id is not None:
            return Image(image_id)
        try:
            await self._pull(image, patience=_PATIENCE_SECONDS if image_id is not None else _STALL_SECONDS)
        except RuntimeUnavailableError:
            raise
        except RuntimeFailureError as error:
            if image_id is None:
                raise ImagePullError("ErrImagePull", f"cannot pull image {image}: {error.message}") from error
            warning = (
                f"image {image} could not be pulled; the one on this machine is used instead: {error.message}"
            )
            return Image(image_id, warning=warning)
        image_id = await self._find(image)
        if image_id is None:
            raise ImagePullError("ErrImagePull", f"image {image} was pulled and is not there")
        return Image(image_id, pulled=True)

    async def _find(self, image: str) -> str | None:
        try:
            inspected = await self._engine.call("inspect_image", lambda client: client.inspect_image(image))
        except GoneError:
            return None
        return str(inspected["Id"])

    async def _pull(self, image: str, *, patience: float) -> None:
        """Pull, or join the pull that is under way. Raises RuntimeFailureError with the reason."""
        registry = parse_reference(image)[0]
        now = self._clock.monotonic()
        if patience < _STALL_SECONDS and self._avoided_until.get(registry, 0.0) > now:
            raise RuntimeFailureError(self._failures[registry])
        task = self._pulls.get(image)
        if task is None:
            task = asyncio.create_task(self._pull_now(image, patience), name=f"pull {image}")
            self._pulls[image] = task
            task.add_done_callback(self._forget(image))
        try:
            await asyncio.shield(task)
        except RuntimeUnavailableError:
            raise
        except RuntimeFailureError as error:
            if not _REFUSED.search(error.message):
                self._avoided_until[registry] = self._clock.monotonic() + _AVOID_SECONDS
                self._failures[registry] = error.message
            raise

    def _forget(self, image: str) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            del self._pulls[image]
            if not task.cancelled():
                # Whoever waited has it; nobody may be left who does.
                task.exception()

        return done

    async def _pull_now(self, image: str, patience: float) -> None:
        registry, repository, tag = parse_reference(image)
        # A credential helper is another program, which may take its time.
        headers = await asyncio.to_thread(credentials, registry)
        query = {"fromImage": repository, "tag": tag}
        try:
            async with asyncio.timeout(patience) as limit:
                request = self._engine.streams.request("POST", "/images/create", query=query, headers=headers)
                async with request as response, aclosing(response.json_lines()) as lines:
                    async for line in lines:
                        _raise_if_failed(line)
                        limit.reschedule(asyncio.get_running_loop().time() + _STALL_SECONDS)
        except TimeoutError:
            raise RuntimeFailureError(f"{registry} did not answer within {patience:.0f} s") from None


def _raise_if_failed(line: dict[str, Any]) -> None:
    if "error" in line:
        raise RuntimeFailureError(str(line["error"]))


def credentials(registry: str) -> dict[str, str]:
    """What `docker login` has left in this user's configuration for the registry, as the engine's header
    for it. Raises RuntimeFailureError where that cannot be read."""
    name = docker.auth.INDEX_NAME if registry == _DEFAULT_REGISTRY else registry
    try:
        found = docker.auth.load_config().resolve_authconfig(name)
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise RuntimeFailureError(f"the credentials for {registry} cannot be read: {error}") from error
    return {"X-Registry-Auth": docker.auth.encode_header(found).decode()} if found else {}
