"""What one command line runs with: which cluster, which namespace, what time it is.

The seam of the whole command line: commands reach the cluster through `Session.run` alone, so tests
hand in a client that works in memory. Must not import grpc before a command asks for the cluster.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from h9s.cli.reachability import any_may_listen
from h9s.clock import Clock, SystemClock, system_random
from h9s.errors import H9sError, TimeoutExpiredError, UnavailableError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client
    from h9s.config import ClientConfig

T = TypeVar("T")

CONFIG_VARIABLE = "H9S_CONFIG"
DEFAULT_CONFIG = "~/.h9s/howbectl.yaml"
#: How long to keep asking, in seconds: several failovers.
DEFAULT_REQUEST_TIMEOUT = 10.0
#: A command that is not done after this many seconds looks whether anybody listens at all, and gives
#: up when nobody does, time after time: a new leader is there sooner, a stopped cluster is not.
_LISTENER_CHECK_INTERVAL = 1.0
_LISTENER_CHECKS = 2


class CommandError(H9sError):
    """A command cannot do what it was asked to, although it was understood."""

    reason: ClassVar[str] = "Command"


class ClientOpener(Protocol):
    """Opens a client; its calls give up after `deadline` seconds."""

    def __call__(
        self, config: ClientConfig, *, clock: Clock, rng: random.Random, deadline: float
    ) -> AbstractAsyncContextManager[Client]:
        """Connects to nothing before it is used."""
        ...


def open_client(
    config: ClientConfig, *, clock: Clock, rng: random.Random, deadline: float
) -> AbstractAsyncContextManager[Client]:
    """The real one."""
    # Errors reach the user as one line of ours; gRPC would print its own beside it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from h9s.client.client import Client
    from h9s.client.retry import DEFAULT_POLICY

    policy = replace(DEFAULT_POLICY, deadline=deadline)
    return Client(config, clock=clock, rng=rng, retry=policy, name="howbectl")


class Session:
    """Set up by the global options, used by the command."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        open_client: ClientOpener = open_client,
    ) -> None:
        self.clock = clock or SystemClock()
        self.rng = rng or system_random()
        self._open_client = open_client
        #: Given with --config, --server and -n; None where the command line does not say.
        self.config_path: str | None = None
        self.server: str | None = None
        self.explicit_namespace: str | None = None
        #: In seconds; 0 means for ever.
        self.request_timeout = DEFAULT_REQUEST_TIMEOUT
        self._config: ClientConfig | None = None

    @property
    def config(self) -> ClientConfig:
        """The cluster's configuration, read once. Raises UsageError."""
        if self._config is None:
            self._config = self._load_config()
        return self._config

    @property
    def namespace(self) -> str:
        """Where to look: -n, or else the configuration's namespace."""
        return self.explicit_namespace or self.config.namespace

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.wall()

    def find_config(self) -> Path:
        """The configuration file to use. Raises UsageError where there is none."""
        named = self.config_path or os.environ.get(CONFIG_VARIABLE)
        path = Path(named or DEFAULT_CONFIG).expanduser()
        if not named and not path.exists():
            raise UsageError(
                f"no cluster to talk to: there is no {path}. Start one with ./scripts/up, or name the"
                f" configuration of one with --config or {CONFIG_VARIABLE}"
            )
        return path

    def _load_config(self) -> ClientConfig:
        from h9s.config import ClientConfig

        config = ClientConfig.load(self.find_config())
        return replace(config, servers=tuple(self.server.split(","))) if self.server else config

    def run(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Do the work with a client of the cluster.

        Raises what the work raises; trouble with the connection as CommandError that names the
        addresses which were tried.
        """
        return asyncio.run(self._with_client(work))

    async def _with_client(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        config = self.config
        deadline = self.request_timeout or math.inf
        try:
            async with self._open_client(config, clock=self.clock, rng=self.rng, deadline=deadline) as client:
                return await _unless_nobody_listens(work(client), config.servers)
        except (UnavailableError, TimeoutExpiredError) as error:
            raise CommandError(_no_answer(error, config.servers)) from error


def _no_answer(error: H9sError, servers: tuple[str, ...]) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in error.message:
        return (
            f"what answers at {', '.join(servers)} is not the cluster of this configuration: its certificate"
            " is from another CA. Was the cluster made anew? Then use its new howbectl.yaml"
        )
    if all(server in error.message for server in servers):
        return f"{error.message}; `howbectl cluster status` shows how the replicas are"
    return f"no answer from the cluster (tried {', '.join(servers)}): {error.message}"


async def _unless_nobody_listens(work: Coroutine[Any, Any, T], servers: tuple[str, ...]) -> T:
    """Do the work, but give it up early where it cannot succeed. Raises UnavailableError then."""
    task = asyncio.create_task(work)
    try:
        for _ in range(_LISTENER_CHECKS):
            await asyncio.wait([task], timeout=_LISTENER_CHECK_INTERVAL)
            if task.done() or await any_may_listen(servers, timeout=_LISTENER_CHECK_INTERVAL):
                return await task
        raise UnavailableError("connection refused; is it running?")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
