"""Who of several equal processes may act: the holder of a Lease object.

The semantics are those of Kubernetes' client-go: a candidate takes the lease when its record has
not changed for the lease's duration *by the candidate's own clock*, so clocks need not agree. The
holder stops acting when it could not renew for `renew_deadline`, which is shorter.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from h9s._pb import coordination_pb2, meta_pb2
from h9s.client import metrics
from h9s.client.cancellation import run_group
from h9s.client.client import Client
from h9s.client.results import EventType
from h9s.client.retry import DEFAULT_POLICY, Backoff, RetryPolicy, is_retriable
from h9s.clock import now_timestamp
from h9s.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    H9sError,
    NotFoundError,
    TimeoutExpiredError,
)

logger = logging.getLogger(__name__)

NAMESPACE = "h9s-system"
_RELEASE_TIMEOUT = 1.0


@dataclass(frozen=True)
class LeaseTimings:
    """In seconds. What `lead` does when it is cancelled has duration - renew_deadline to finish."""

    duration: float = 3.0
    renew_deadline: float = 2.0
    renew_interval: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.renew_interval < self.renew_deadline < self.duration:
            raise ValueError(f"expected renew_interval < renew_deadline < duration: {self}")


class LeaseLostError(Exception):
    """The lease could not be renewed in time, or somebody else has it."""


class LeaderElection:
    """One candidate for one lease. `identity` must differ between candidates."""

    def __init__(
        self,
        client: Client,
        lease_name: str,
        identity: str,
        *,
        timings: LeaseTimings = LeaseTimings(),
        retry: RetryPolicy = DEFAULT_POLICY,
    ) -> None:
        self.identity = identity
        self.is_leading = False
        self._client = client
        self._clock = client.clock
        self._name = lease_name
        self._timings = timings
        self._retry = retry
        self._lease = coordination_pb2.Lease()
        #: When (monotonic) the record was last seen to change, or a renewal that succeeded began.
        self._seen_at = 0.0
        self._leading = metrics.LEADING.labels(lease_name)

    async def run(self, lead: Callable[[], Awaitable[object]]) -> None:
        """Wait for the lease, then run `lead()` while holding it.

        When the lease is lost `lead()` is cancelled and this waits for it again. Ends when `lead()`
        does, with its error if it raised one; then, or when cancelled, the lease is given up so that
        another candidate need not wait for it to run out.
        """
        while True:
            await self._acquire()
            self._set_leading(leading=True)
            lost = False
            try:
                await run_group(self._hold(lead))
            except* LeaseLostError as errors:
                lost = True
                logger.warning("%s: no longer leading: %s", self._name, errors.exceptions[0])
            finally:
                self._set_leading(leading=False)
                if not lost:
                    await self._release()
            if not lost:
                return

    async def _hold(self, lead: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.TaskGroup() as group:
            renewal = group.create_task(self._keep_renewing())
            group.create_task(self._lead(lead, renewal))

    async def _lead(self, lead: Callable[[], Awaitable[object]], renewal: asyncio.Task[NoReturn]) -> None:
        await lead()
        renewal.cancel()

    # -- getting the lease

    async def _acquire(self) -> None:
        backoff = Backoff(self._retry, self._client.rng)
        known = False
        while True:
            try:
                if not known:
                    await self._read()
                    known = True
                await self._wait_until_free()
                await self._take()
                return
            except (ConflictError, AlreadyExistsError, NotFoundError, CompactedError) as error:
                logger.debug("%s: somebody was faster: %s", self._name, error.message)
                known = False
            except H9sError as error:
                if not is_retriable(error):
                    raise
                logger.warning("%s: cannot take part: %s", self._name, error.message)
                known = False
            await asyncio.sleep(backoff.next())

    async def _read(self) -> None:
        """Learn the record, or start with an empty one where there is none."""
        try:
            lease = await self._client.get(coordination_pb2.Lease, self._name, NAMESPACE)
        except NotFoundError:
            lease = coordination_pb2.Lease(metadata=meta_pb2.ObjectMeta(name=self._name, namespace=NAMESPACE))
        self._observe(lease)

    def _observe(self, lease: coordination_pb2.Lease) -> None:
        if lease.metadata.resource_version != self._lease.metadata.resource_version or not self._seen_at:
            self._seen_at = self._clock.monotonic()
        self._lease = lease

    async def _wait_until_free(self) -> None:
        """Follow the record until nobody holds it or its time is up."""
        if self._free_in() <= 0:
            return
        changes = self._client.watch(
            coordination_pb2.Lease,
            NAMESPACE,
            name=self._name,
            after_revision=int(self._lease.metadata.resource_version),
        )
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._free_in()) as limit, aclosing(changes):
                async for batch in changes:
                    for event in batch.events:
                        if event.type is EventType.DELETED:
                            raise NotFoundError(f"the lease {self._name} was deleted")
                        self._observe(event.object)
                    if self._free_in() <= 0:
                        return
                    limit.reschedule(loop.time() + self._free_in())
        except TimeoutError:
            logger.info("%s: %s has not renewed", self._name, self._lease.spec.holder_identity)

    def _free_in(self) -> float:
        """In how many seconds this candidate may take the lease."""
        spec = self._lease.spec
        if spec.holder_identity in ("", self.identity):
            return 0.0
        return self._seen_at + spec.lease_duration_seconds - self._clock.monotonic()

    async def _take(self) -> None:
        lease = copy.deepcopy(self._lease)
        if lease.spec.holder_identity != self.identity:
            lease.spec.lease_transitions += 1
            lease.spec.acquire_time.CopyFrom(now_timestamp(self._clock))
        lease.spec.holder_identity = self.identity
        lease.spec.lease_duration_seconds = math.ceil(self._timings.duration)
        await self._write(lease, timeout=self._timings.renew_deadline)

    # -- keeping it

    async def _keep_renewing(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._timings.renew_interval)
            deadline = self._seen_at + self._timings.renew_deadline
            try:
                await self._write(
                    copy.deepcopy(self._lease), timeout=max(deadline - self._clock.monotonic(), 0.0)
                )
            except TimeoutExpiredError as error:
                raise LeaseLostError(f"could not renew in time: {error.message}") from error
            except (ConflictError, NotFoundError) as error:
                raise LeaseLostError(f"somebody else changed the lease: {error.message}") from error

    async def _write(self, lease: coordination_pb2.Lease, *, timeout: float) -> None:
        """Write the record on top of the one last seen. Raises what `Client.update` does."""
        started = self._clock.monotonic()
        lease.spec.renew_time.CopyFrom(now_timestamp(self._clock))
        write = self._client.update if lease.metadata.resource_version else self._client.create
        self._lease = await write(lease, timeout=timeout)
        self._seen_at = started

    async def _release(self) -> None:
        lease = copy.deepcopy(self._lease)
        lease.spec.holder_identity = ""
        try:
            await self._write(lease, timeout=_RELEASE_TIMEOUT)
        except H9sError as error:
            logger.warning("%s: could not release the lease, it will run out: %s", self._name, error.message)

    def _set_leading(self, *, leading: bool) -> None:
        self.is_leading = leading
        self._leading.set(leading)
        metrics.LEADERSHIP_CHANGES.labels(self._name, "leader" if leading else "standby").inc()
        if leading:
            logger.info("%s: %s leads", self._name, self.identity)
