"""Tests of the client on virtual time, against a cluster in memory."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from h9s._pb import core_pb2, meta_pb2
from h9s.client import BatchingClient, Client, RetryPolicy
from h9s.client.retry import DEFAULT_POLICY
from h9s.clock import LoopClock
from h9s.config import ClientConfig
from h9s.testing.fake_api import FakeApi
from h9s.testing.virtual_loop import run_virtual


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(lambda: test(*args, **kwargs))

    return run


def new_client(
    api: FakeApi,
    *,
    cls: type[Client] = Client,
    seed: int = 1,
    retry: RetryPolicy = DEFAULT_POLICY,
    name: str = "test",
    servers: tuple[str, ...] = (),
) -> Client:
    config = ClientConfig(servers=servers or api.servers, ca=b"", certificate=b"", key=b"")
    clock = LoopClock(asyncio.get_running_loop())
    return cls(config, clock=clock, rng=random.Random(seed), retry=retry, name=name, transport=api)


def new_batching_client(api: FakeApi, **kwargs: Any) -> BatchingClient:
    client = new_client(api, cls=BatchingClient, **kwargs)
    assert isinstance(client, BatchingClient)
    return client


def pod(name: str, namespace: str = "default", **labels: str) -> core_pb2.Pod:
    return core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name=name, namespace=namespace, labels=labels))


async def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait, in the loop's time, for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
