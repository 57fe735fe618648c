"""One pod's worker: look, decide, act, look again. All decisions are `next_steps`'; this does them.

It never acts on what it remembers having done, only on what the runtime says there is now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from h9s._pb import core_pb2
from h9s.clock import Clock
from h9s.kubelet import metrics
from h9s.kubelet.container_config import container_config, sandbox_config, spec_hash
from h9s.kubelet.desired_pods import DesiredPods
from h9s.kubelet.next_steps import next_steps, teardown
from h9s.kubelet.observed import ObservedPod, PodIdentity
from h9s.kubelet.pod_memory import (
    PodMemory,
    StopMemory,
    after_failure,
    after_sandbox,
    after_start,
    recollect,
)
from h9s.kubelet.pod_status import pod_status
from h9s.kubelet.runtime import (
    GoneError,
    Image,
    Runtime,
    RuntimeFailureError,
    RuntimeUnavailableError,
    StartContainerError,
)
from h9s.kubelet.settings import Recorder, Reports, WorkerSettings
from h9s.kubelet.steps import (
    CreateSandbox,
    KillContainer,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RunContainer,
    Step,
    TerminateContainer,
)

logger = logging.getLogger(__name__)

#: How a step changes what is remembered.
Outcome: TypeAlias = Callable[[PodMemory], PodMemory]

#: After that many rounds in a row that all did something, take a breath: the runtime does not do as it says.
_ROUNDS_WITHOUT_REST = 30


@dataclass(frozen=True)
class Round:
    """What one look came to. `acted`: look again at once. `wake_in`: seconds; None: on a change only."""

    acted: bool = False
    wake_in: float | None = None
    finished: bool = False


class PodWorker:
    """Works on one pod until nothing is left of it. `run` and `reconcile` are never run by two at once."""

    def __init__(
        self,
        uid: str,
        *,
        desired: DesiredPods,
        runtime: Runtime,
        statuses: Reports,
        recorder: Recorder,
        clock: Clock,
        settings: WorkerSettings,
    ) -> None:
        self.uid = uid
        #: What the runtime had at the last look.
        self.observed = ObservedPod(PodIdentity(uid, "", ""))
        self._desired = desired
        self._runtime = runtime
        self._statuses = statuses
        self._recorder = recorder
        self._clock = clock
        self._settings = settings
        self._memory = PodMemory()
        self._wakeup = asyncio.Event()
        self._first_seen = clock.monotonic()
        self._start_measured = False
        self._announced: set[tuple[str, int, str]] = set()

    def wake(self) -> None:
        """Something may have changed."""
        self._wakeup.set()

    async def run(self) -> None:
        """Work until the pod is gone from the API and from the runtime."""
        rounds = failures = 0
        while True:
            self._wakeup.clear()
            try:
                result = await self.reconcile()
                failures = 0
            except RuntimeFailureError as error:
                logger.warning("pod %s: %s; trying again", self.observed.identity, error.message)
                failures += 1
                result = Round(wake_in=self._settings.mishap.delay(failures))
            if result.finished:
                return
            rounds = rounds + 1 if result.acted else 0
            if result.acted and rounds < _ROUNDS_WITHOUT_REST:
                continue
            try:
                async with asyncio.timeout(self._settings.retry_seconds if result.acted else result.wake_in):
                    await self._wakeup.wait()
            except TimeoutError:
                pass

    async def reconcile(self) -> Round:
        """One look, and the steps that it calls for. Raises RuntimeFailureError if the runtime fails at
        something that is nobody's configuration."""
        self.observed = await self._runtime.observe(self.uid)
        now = self._clock.wall()
        pod = self._desired.get(self.uid)
        if pod is None:
            return await self._reconcile_unwanted(now)
        self._memory = recollect(self._memory, pod, self.observed, now)
        plan = next_steps(pod, self.observed, self._memory, now=now, policy=self._settings.restart)
        if plan.finished:
            self._statuses.finish(pod)
            return Round(finished=True)
        self._report(pod, plan, now)
        return await self._act(pod, plan, now)

    async def _reconcile_unwanted(self, now: float) -> Round:
        if not self._desired.complete:
            return Round()
        plan = teardown(self.observed, self._memory, now=now)
        if plan.finished:
            self._statuses.forget(self.uid)
            return Round(finished=True)
        return await self._act(None, plan, now)

    def _report(self, pod: core_pb2.Pod, plan: Plan, now: float) -> None:
        known = core_pb2.Pod()
        known.CopyFrom(pod)
        known.status.CopyFrom(self._statuses.latest(pod))
        status = pod_status(
            known,
            self.observed,
            self._memory,
            plan.waiting,
            host_ip=self._settings.host_ip,
            runtime_name=self._runtime.name,
            now=now,
        )
        self._statuses.report(pod, status)
        if not self._start_measured and all(mine.ready for mine in status.container_statuses):
            self._start_measured = True
            metrics.POD_START_SECONDS.observe(self._clock.monotonic() - self._first_seen)
        self._announce_waits(pod, plan)

    def _announce_waits(self, pod: core_pb2.Pod, plan: Plan) -> None:
        """Back-offs, once per run of the container."""
        for name, why in plan.waiting.items():
            last = self._memory.of(name).last
            key = (name, last.attempt if last is not None else -1, why.reason)
            if why.reason in ("CrashLoopBackOff", "RunContainerError") and key not in self._announced:
                self._announced.add(key)
                self._recorder.record(pod, "Warning", "BackOff", why.message)

    # -- acting

    async def _act(self, pod: core_pb2.Pod | None, plan: Plan, now: float) -> Round:
        if not plan.steps:
            wake_in = max(plan.wake_at - now, 0.0) if plan.wake_at is not None else None
            return Round(wake_in=wake_in)
        results = await asyncio.gather(*(self._do(pod, step) for step in plan.steps), return_exceptions=True)
        failures: list[BaseException] = []
        for result in results:
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                self._memory = result(self._memory)
        # A fault of ours comes before what the runtime could not do.
        failures.sort(key=lambda failure: isinstance(failure, RuntimeFailureError))
        if failures:
            raise failures[0]
        return Round(acted=True)

    async def _do(self, pod: core_pb2.Pod | None, step: Step) -> Outcome:
        try:
            return await self._execute(pod, step)
        except GoneError:
            # It vanished between the look and the step: the next look shows what is left.
            return _unchanged

    async def _execute(self, pod: core_pb2.Pod | None, step: Step) -> Outcome:
        match step:
            case TerminateContainer(container, why):
                if pod is not None:
                    message = f"Stopping container {container.name}: {why}"
                    self._recorder.record(pod, "Normal", "Killing", message)
                await self._runtime.terminate_container(container.id)
                asked_at = self._clock.wall()
                return lambda memory: memory.with_stop(container.id, StopMemory(asked_at))
            case KillContainer(container):
                await self._runtime.kill_container(container.id)
                killed_at = self._clock.wall()
                before = self._memory.stops.get(container.id) or StopMemory(killed_at)
                stop = replace(before, killed_at=killed_at)
                return lambda memory: memory.with_stop(container.id, stop)
            case RemoveContainer(container_id):
                await self._runtime.remove_container(container_id)
            case RemoveSandbox(sandbox_id):
                await self._runtime.remove_sandbox(sandbox_id)
            case CreateSandbox(attempt):
                assert pod is not None, "only wanted pods get a sandbox"
                return await self._create_sandbox(pod, attempt)
            case RunContainer():
                assert pod is not None, "only wanted pods get containers"
                return await self._run_container(pod, step)
        return _unchanged

    async def _create_sandbox(self, pod: core_pb2.Pod, attempt: int) -> Outcome:
        policy = self._settings.mishap
        try:
            await self._runtime.create_sandbox(sandbox_config(pod, attempt=attempt))
        except RuntimeUnavailableError:
            raise
        except RuntimeFailureError as error:
            failed_at, reason, message = self._clock.wall(), error.waiting_reason, error.message
            self._recorder.record(pod, "Warning", "FailedCreatePodSandBox", message)
            return lambda memory: after_sandbox(memory, policy, failed_at, reason=reason, message=message)
        return lambda memory: after_sandbox(memory, policy, 0.0)

    async def _run_container(self, pod: core_pb2.Pod, step: RunContainer) -> Outcome:
        container = next(one for one in pod.spec.containers if one.name == step.name)
        policy = self._settings.mishap
        try:
            policy = self._settings.pull
            image = await self._ensure_image(pod, container)
            policy = self._settings.mishap
            container_id = step.container_id or await self._create_container(pod, container, step, image)
            await self._start_container(pod, step, container_id)
        except (RuntimeUnavailableError, GoneError):
            raise
        except StartContainerError:
            pass
        except RuntimeFailureError as error:
            failed_at, reason, message = self._clock.wall(), error.waiting_reason, error.message
            self._recorder.record(pod, "Warning", "Failed", f"{reason}: {message}")
            return lambda memory: after_failure(
                memory,
                step.name,
                policy,
                failed_at,
                reason=reason,
                message=message,
                spec_hash=spec_hash(container),
            )
        started_at = self._clock.wall()
        if step.attempt > 0:
            metrics.CONTAINER_RESTARTS.inc()
        return lambda memory: after_start(memory, step.name, self._settings.restart, started_at)

    async def _ensure_image(self, pod: core_pb2.Pod, container: core_pb2.Container) -> Image:
        image = await self._runtime.ensure_image(
            container.image, container.image_pull_policy, has_command=bool(container.command)
        )
        if image.warning:
            self._recorder.record(pod, "Warning", "ImageNotPulled", image.warning)
        how = "was pulled" if image.pulled else "is on this machine already"
        self._recorder.record(pod, "Normal", "Pulled", f"Image {container.image} {how}")
        return image

    async def _create_container(
        self, pod: core_pb2.Pod, container: core_pb2.Container, step: RunContainer, image: Image
    ) -> str:
        config = container_config(
            pod,
            container,
            attempt=step.attempt,
            sandbox_id=step.sandbox.id,
            image_id=image.id,
            pod_ip=step.sandbox.address,
            host_ip=self._settings.host_ip,
        )
        for caveat in self._runtime.caveats(sandbox_config(pod, attempt=step.sandbox.attempt), config):
            self._recorder.record(pod, "Warning", "NotEnforced", f"container {container.name}: {caveat}")
        container_id = await self._runtime.create_container(config)
        self._recorder.record(pod, "Normal", "Created", f"Created container {container.name}")
        return container_id

    async def _start_container(self, pod: core_pb2.Pod, step: RunContainer, container_id: str) -> None:
        try:
            await self._runtime.start_container(container_id)
        except StartContainerError as error:
            self._recorder.record(pod, "Warning", "Failed", f"{error.waiting_reason}: {error.message}")
            raise
        self._recorder.record(pod, "Normal", "Started", f"Started container {step.name}")


def _unchanged(memory: PodMemory) -> PodMemory:
    return memory
