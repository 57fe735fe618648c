"""The engine's short calls: the Docker SDK in a bounded pool of threads, with its errors made ours.

The bound keeps one burst of pods from taking the engine away from everybody else; beyond some eight
calls at a time the engine gets no faster.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.errors
import requests.exceptions

from h9s.clock import Clock
from h9s.kubelet import metrics
from h9s.kubelet.docker.streams import StreamingEngine
from h9s.kubelet.runtime import GoneError, RuntimeFailureError, RuntimeUnavailableError

#: The oldest engine API that everything used here is in.
MINIMUM_API_VERSION = "1.40"
_MAX_CALLS = 8
_GONE = ("No such container", "non running container")
#: An engine under load may take long to start a container; one that takes longer than this hangs.
_TIMEOUT_SECONDS = 120


class Engine:
    """One Docker Engine. Belongs to one event loop."""

    def __init__(self, address: str, *, clock: Clock) -> None:
        self.address = address
        self._clock = clock
        self._pool = ThreadPoolExecutor(_MAX_CALLS, thread_name_prefix="docker")
        self._client: docker.APIClient | None = None
        self._streams: StreamingEngine | None = None

    async def connect(self) -> str:
        """Agree on an API version; gives it. Raises RuntimeUnavailableError."""
        loop = asyncio.get_running_loop()
        try:
            client = await loop.run_in_executor(self._pool, _open_client, self.address)
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise RuntimeUnavailableError(f"no Docker Engine answers at {self.address}: {error}") from error
        self._client = client
        version = str(client.api_version)
        self._streams = StreamingEngine(self.address, api_version=version)
        return version

    @property
    def streams(self) -> StreamingEngine:
        """For the long answers."""
        if self._streams is None:
            raise RuntimeUnavailableError("there is no connection to the Docker Engine yet")
        return self._streams

    async def call(self, operation: str, function: Callable[[Any], Any]) -> Any:
        """Run `function` with the SDK's `APIClient` (which is not fully typed) in a thread; gives its
        result. `operation` names it in metrics.

        Raises RuntimeUnavailableError where the engine does not answer, GoneError where it knows no
        such thing, RuntimeFailureError with the engine's words for anything else that it refuses.
        """
        client = self._client
        if client is None:
            raise RuntimeUnavailableError("there is no connection to the Docker Engine yet")
        started = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, _call, self.address, function, client)
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            ours = translate(error)
            metrics.OPERATION_ERRORS.labels(operation, ours.reason).inc()
            raise ours from error
        finally:
            metrics.OPERATION_SECONDS.labels(operation).observe(self._clock.monotonic() - started)

    def close(self) -> None:
        """Let go of the engine. Calls under way in threads end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()


def translate(error: Exception) -> RuntimeFailureError:
    """The engine's answer, or the lack of one, as one of our errors."""
    if isinstance(error, docker.errors.APIError) and error.response is not None:
        message = str(error.explanation or error)
        # A container that joins the network of one that is gone is refused with another code.
        gone = error.response.status_code == 404 or any(text in message for text in _GONE)
        return GoneError(message) if gone else RuntimeFailureError(message)
    return RuntimeUnavailableError(f"the Docker Engine does not answer: {error}")


def _call(address: str, function: Callable[[Any], Any], client: docker.APIClient) -> Any:
    _knock(address)
    return function(client)


def _knock(address: str) -> None:
    """Raise OSError unless somebody listens on the engine's socket. The SDK would say so too, but leave
    a socket open each time."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_TIMEOUT_SECONDS)
            probe.connect(path)


def _open_client(address: str) -> docker.APIClient:
    _knock(address)
    client = docker.APIClient(base_url=address, version="auto", timeout=_TIMEOUT_SECONDS)
    client.ping()
    return client
