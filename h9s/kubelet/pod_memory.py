"""What a pod's worker remembers from one look to the next: what neither the API nor the runtime can say.

Immutable, and changed by pure functions alone. All of it may be lost with the howbelet: what then
runs is adopted, and back-offs start over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from h9s._pb import core_pb2
from h9s.kubelet.backoff import Backoff, BackoffPolicy, advance
from h9s.kubelet.observed import (
    ERROR,
    EXIT_KILLED,
    STATUS_UNKNOWN,
    ObservedContainer,
    ObservedPod,
    State,
)
from h9s.kubelet.timestamps import seconds_of

#: How many kills from outside a container may have before they count as crashes.
_KILLS_FORGIVEN = 5


@dataclass(frozen=True)
class Failure:
    """A step that failed, how often in a row, and when to try it again."""

    reason: str
    message: str
    count: int
    retry_at: float
    #: Of the container's spec that failed: another spec is tried at once.
    spec_hash: str = ""


@dataclass(frozen=True)
class ContainerMemory:
    """`last` is the newest run that is known of, RUNNING or EXITED; one that vanished is kept as EXITED,
    its end unknown."""

    last: ObservedContainer | None = None
    restart: Backoff | None = None
    #: How often in a row somebody killed it.
    kills: int = 0
    failure: Failure | None = None


@dataclass(frozen=True)
class StopMemory:
    """When a container was asked to end, and when it was last killed; seconds since 1970."""

    terminated_at: float
    killed_at: float | None = None


def _empty() -> Mapping[str, ContainerMemory]:
    return MappingProxyType({})


def _empty_stops() -> Mapping[str, StopMemory]:
    return MappingProxyType({})


@dataclass(frozen=True)
class PodMemory:
    """By container name, and by container id for those that are being stopped."""

    containers: Mapping[str, ContainerMemory] = field(default_factory=_empty)
    stops: Mapping[str, StopMemory] = field(default_factory=_empty_stops)
    sandbox_failure: Failure | None = None
    #: The highest attempt of a sandbox that was seen; -1: none.
    sandbox_attempt: int = -1

    def of(self, name: str) -> ContainerMemory:
        """What is remembered of the container of that name."""
        return self.containers.get(name) or ContainerMemory()

    def is_forgiven(self, run: ObservedContainer) -> bool:
        """Whether its end is no crash, so that it costs no waiting: we asked for it, or it was removed or
        killed from outside. A program cannot end by SIGKILL by itself, but memory that runs out without
        the runtime noticing looks the same: that is forgiven a few times only."""
        if run.reason == STATUS_UNKNOWN or run.id in self.stops:
            return True
        return _was_killed(run) and self.of(run.name).kills < _KILLS_FORGIVEN

    def with_container(self, name: str, memory: ContainerMemory) -> PodMemory:
        """The same with this about the container of that name."""
        return replace(self, containers=MappingProxyType({**self.containers, name: memory}))

    def with_stop(self, container_id: str, stop: StopMemory) -> PodMemory:
        """The same with this about the container of that id."""
        return replace(self, stops=MappingProxyType({**self.stops, container_id: stop}))


def recollect(memory: PodMemory, pod: core_pb2.Pod, observed: ObservedPod, now: float) -> PodMemory:
    """Take in what there is now. A container that was known to have run and is gone becomes one that
    exited with 137 and reason ContainerStatusUnknown."""
    reported = {status.name: status for status in pod.status.container_statuses}
    for container in pod.spec.containers:
        known = memory.of(container.name)
        newest = observed.newest_run(container.name)
        last = known.last
        if last is None and container.name in reported:
            last = _as_reported(reported[container.name])
        if newest is not None and (last is None or newest.attempt >= last.attempt):
            last = newest
        elif last is not None and last.state is State.RUNNING:
            last = _vanished(last, now)
        memory = memory.with_container(container.name, replace(known, last=last))
    present = {container.id for container in observed.containers}
    attempts = [sandbox.attempt for sandbox in observed.sandboxes]
    return replace(
        memory,
        stops=MappingProxyType({id_: stop for id_, stop in memory.stops.items() if id_ in present}),
        sandbox_attempt=max([memory.sandbox_attempt, *attempts]),
    )


def after_start(memory: PodMemory, name: str, policy: BackoffPolicy, now: float) -> PodMemory:
    """A run of the container was begun: if the one before crashed, the next has to wait longer."""
    known = memory.of(name)
    last = known.last
    if last is None or last.state is not State.EXITED:
        return memory.with_container(name, replace(known, failure=None))
    ended_at = last.finished_at if last.finished_at is not None else now
    ran_long = last.started_at is not None and ended_at - last.started_at > policy.reset_after
    kills = (0 if ran_long else known.kills) + 1 if _was_killed(last) else 0
    restart = known.restart
    if not memory.is_forgiven(last):
        restart = advance(policy, known.restart, ended_at, now)
    return memory.with_container(name, replace(known, restart=restart, kills=kills, failure=None))


def after_failure(
    memory: PodMemory,
    name: str,
    policy: BackoffPolicy,
    now: float,
    *,
    reason: str,
    message: str,
    spec_hash: str,
) -> PodMemory:
    """The container could not be brought to its start."""
    known = memory.of(name)
    before = known.failure
    count = before.count + 1 if before is not None and before.spec_hash == spec_hash else 1
    failure = Failure(reason, message, count, now + policy.delay(count), spec_hash)
    return memory.with_container(name, replace(known, failure=failure))


def after_sandbox(
    memory: PodMemory, policy: BackoffPolicy, now: float, *, reason: str = "", message: str = ""
) -> PodMemory:
    """A sandbox was made; or, with a message, could not be."""
    if not message:
        return replace(memory, sandbox_failure=None)
    count = memory.sandbox_failure.count + 1 if memory.sandbox_failure else 1
    return replace(memory, sandbox_failure=Failure(reason, message, count, now + policy.delay(count)))


def _was_killed(run: ObservedContainer) -> bool:
    return run.exit_code == EXIT_KILLED and run.reason == ERROR


def _vanished(container: ObservedContainer, now: float) -> ObservedContainer:
    return replace(
        container,
        state=State.EXITED,
        exit_code=EXIT_KILLED,
        reason=STATUS_UNKNOWN,
        message="the container was removed by somebody else; how it ended is unknown",
        finished_at=now,
    )


def _as_reported(status: core_pb2.ContainerStatus) -> ObservedContainer | None:
    """The last run that the API knows of; None if there was none."""
    if status.state.HasField("terminated"):
        ended = status.state.terminated
    elif status.state.HasField("running"):
        return ObservedContainer(
            id=status.container_id.rpartition("/")[2],
            name=status.name,
            attempt=status.restart_count,
            state=State.RUNNING,
            image=status.image,
            image_id=status.image_id,
            started_at=seconds_of(status.state.running.started_at),
        )
    elif status.last_state.HasField("terminated"):
        ended = status.last_state.terminated
    else:
        return None
    return ObservedContainer(
        id=ended.container_id.rpartition("/")[2],
        name=status.name,
        attempt=status.restart_count,
        state=State.EXITED,
        image=status.image,
        image_id=status.image_id,
        started_at=seconds_of(ended.started_at) if ended.HasField("started_at") else None,
        finished_at=seconds_of(ended.finished_at),
        exit_code=ended.exit_code,
        signal=ended.signal,
        reason=ended.reason,
        message=ended.message,
    )
