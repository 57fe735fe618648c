"""What to do next for one pod: a pure function from what is wanted and what there is.

Level-triggered: it looks at nothing but the present, so it does not matter which events were missed
or how often it is asked. Never two runs of one container at a time, and no run that its restart
policy forbids. The rules are those of Kubernetes' kubelet.
"""

from __future__ import annotations

from dataclasses import dataclass

from h9s._pb import core_pb2
from h9s.api import pods
from h9s.kubelet.backoff import BackoffPolicy, retry_at
from h9s.kubelet.container_config import grace_seconds, spec_hash
from h9s.kubelet.observed import (
    CANNOT_RUN,
    ObservedContainer,
    ObservedPod,
    ObservedSandbox,
    State,
)
from h9s.kubelet.pod_memory import PodMemory
from h9s.kubelet.steps import (
    CreateSandbox,
    KillContainer,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RunContainer,
    Step,
    TerminateContainer,
    Waiting,
    merge,
)

#: How long containers may take to end whose network died with their sandbox: they serve nobody.
_ORPHANED_GRACE_SECONDS = 0.5
#: When to send SIGKILL once more to what does not go away.
_KILL_AGAIN_SECONDS = 2.0
_CREATING = Waiting("ContainerCreating")


def next_steps(
    pod: core_pb2.Pod, observed: ObservedPod, memory: PodMemory, *, now: float, policy: BackoffPolicy
) -> Plan:
    """The plan for a pod that the API has. `memory` has taken in `observed`."""
    if pod.metadata.HasField("deletion_timestamp"):
        return teardown(observed, memory, now=now, grace=grace_seconds(pod))
    if is_over(pod, memory):
        return _after_the_end(observed, memory, now, grace_seconds(pod))
    planner = _Planner(pod, observed, memory, now, policy)
    return planner.plan()


def teardown(observed: ObservedPod, memory: PodMemory, *, now: float, grace: int | None = None) -> Plan:
    """The plan for a pod that has to go. Without `grace` each container's own counts."""
    stops = [
        _stop(container, memory, now, container.grace_seconds if grace is None else grace, "the pod ends")
        for container in observed.running
    ]
    if stops:
        return merge(stops)
    removals: list[Step] = [RemoveContainer(container.id) for container in observed.containers]
    removals += [RemoveSandbox(sandbox.id) for sandbox in observed.sandboxes]
    return Plan(tuple(removals), finished=not removals)


def is_over(pod: core_pb2.Pod, memory: PodMemory) -> bool:
    """Whether all its containers have ended and none may start again: its phase is final."""
    if pods.is_terminal(pod):
        return True
    return bool(pod.spec.containers) and all(
        (last := memory.of(container.name).last) is not None
        and last.state is State.EXITED
        and not _may_restart(pod, container, last)
        for container in pod.spec.containers
    )


def _after_the_end(observed: ObservedPod, memory: PodMemory, now: float, grace: int) -> Plan:
    """The containers stay for their output, without a network."""
    stops = [_stop(container, memory, now, grace, "the pod is over") for container in observed.running]
    return merge(stops) if stops else Plan(tuple(RemoveSandbox(box.id) for box in observed.sandboxes))


def _may_restart(pod: core_pb2.Pod, container: core_pb2.Container, last: ObservedContainer) -> bool:
    match pod.spec.restart_policy:
        case "Never":
            return False
        case "OnFailure":
            return last.exit_code != 0 or _is_outdated(container, last)
    return True


def _is_outdated(container: core_pb2.Container, run: ObservedContainer) -> bool:
    return bool(run.spec_hash) and run.spec_hash != spec_hash(container)


def _stop(container: ObservedContainer, memory: PodMemory, now: float, grace: float, why: str) -> Plan:
    """SIGTERM; SIGKILL after `grace` seconds, again and again."""
    stop = memory.stops.get(container.id)
    if stop is None and grace > 0:
        return Plan((TerminateContainer(container, why),), wake_at=now + grace)
    due = stop.terminated_at + grace if stop is not None else now
    if stop is not None and stop.killed_at is not None:
        due = max(due, stop.killed_at + _KILL_AGAIN_SECONDS)
    if due > now:
        return Plan(wake_at=due)
    return Plan((KillContainer(container),), wake_at=now + _KILL_AGAIN_SECONDS)


@dataclass(frozen=True)
class _Planner:
    """The plan for a pod that is to run."""

    pod: core_pb2.Pod
    observed: ObservedPod
    memory: PodMemory
    now: float
    policy: BackoffPolicy

    def plan(self) -> Plan:
        sandbox = self.observed.sandbox
        strangers = self._stop_strangers()
        plans = [self._container_plan(container, sandbox) for container in self.pod.spec.containers]
        plan = merge([strangers, *plans, self._remove_leftovers(sandbox)])
        if sandbox is not None or not any(isinstance(step, RunContainer) for step in plan.steps):
            return plan
        return self._sandbox_first(plan)

    def _sandbox_first(self, plan: Plan) -> Plan:
        """Nothing can start without a sandbox, and a new one has to wait until the old one's
        containers have ended."""
        others = tuple(step for step in plan.steps if not isinstance(step, RunContainer))
        starting = {step.name: _CREATING for step in plan.steps if isinstance(step, RunContainer)}
        waiting = {**starting, **plan.waiting}
        failure = self.memory.sandbox_failure
        if self.observed.running:
            return Plan(others, plan.wake_at, waiting)
        if failure is not None and failure.retry_at > self.now:
            waiting.update(dict.fromkeys(starting, Waiting(failure.reason, failure.message)))
            wake_at = min(plan.wake_at or failure.retry_at, failure.retry_at)
            return Plan(others, wake_at, waiting)
        create = CreateSandbox(self.memory.sandbox_attempt + 1)
        return Plan((*others, create), plan.wake_at, waiting)

    def _container_plan(self, container: core_pb2.Container, sandbox: ObservedSandbox | None) -> Plan:
        running = [mine for mine in self.observed.running if mine.name == container.name]
        if running:
            return merge(self._keep_or_stop(container, mine, sandbox) for mine in running)
        last = self.memory.of(container.name).last
        if last is not None and last.state is State.EXITED and not _may_restart(self.pod, container, last):
            return Plan()
        not_before, why = self._wait(container, last)
        if not_before is not None and not_before > self.now:
            return Plan(wake_at=not_before, waiting={container.name: why})
        return self._run(container, last, sandbox)

    def _keep_or_stop(
        self, container: core_pb2.Container, running: ObservedContainer, sandbox: ObservedSandbox | None
    ) -> Plan:
        newest = self.observed.newest_run(container.name)
        grace = float(grace_seconds(self.pod))
        if sandbox is None or running.sandbox_id != sandbox.id:
            why = "its sandbox died, and its network with it"
            return _stop(running, self.memory, self.now, min(grace, _ORPHANED_GRACE_SECONDS), why)
        if newest is not None and running.attempt != newest.attempt:
            return _stop(running, self.memory, self.now, grace, "a newer one took its place")
        if running.spec_hash != spec_hash(container) and self.pod.spec.restart_policy != "Never":
            return _stop(running, self.memory, self.now, grace, "its spec changed")
        return Plan()

    def _wait(
        self, container: core_pb2.Container, last: ObservedContainer | None
    ) -> tuple[float | None, Waiting]:
        """Until when the container has to wait, if at all, and for what."""
        mine, wanted = self.memory.of(container.name), spec_hash(container)
        failure = mine.failure
        if failure is not None and failure.spec_hash == wanted and failure.retry_at > self.now:
            return failure.retry_at, _failure_waiting(failure.reason, failure.message, failure.count)
        if last is None or self.memory.is_forgiven(last) or _is_outdated(container, last):
            return None, _CREATING
        ended_at = last.finished_at if last.finished_at is not None else last.created_at
        not_before = retry_at(self.policy, mine.restart, ended_at)
        delay = mine.restart.delay if mine.restart is not None else 0.0
        text = (
            f"back-off {delay:.0f}s restarting failed container {container.name} of {self.observed.identity}"
        )
        if last.reason == CANNOT_RUN:
            return not_before, Waiting("RunContainerError", f"{last.message} ({text})")
        return not_before, Waiting("CrashLoopBackOff", text)

    def _run(
        self, container: core_pb2.Container, last: ObservedContainer | None, sandbox: ObservedSandbox | None
    ) -> Plan:
        box = sandbox or ObservedSandbox("", -1, ready=False)
        attempt = last.attempt + 1 if last is not None else 0
        waiting = {container.name: _CREATING} if last is None else {}
        made = self.observed.newest(container.name)
        if made is None or made.state is not State.CREATED:
            return Plan((RunContainer(container.name, attempt, box),), waiting=waiting)
        if sandbox is not None and made.sandbox_id == sandbox.id and made.spec_hash == spec_hash(container):
            return Plan((RunContainer(container.name, made.attempt, box, made.id),), waiting=waiting)
        # It never ran: the same attempt is made again, for the new sandbox or spec.
        return Plan((RemoveContainer(made.id),), waiting=waiting)

    def _stop_strangers(self) -> Plan:
        """Containers that the spec does not have."""
        known = {container.name for container in self.pod.spec.containers}
        grace = grace_seconds(self.pod)
        plans: list[Plan] = []
        for container in self.observed.containers:
            if container.name in known:
                continue
            if container.state is State.RUNNING:
                plans.append(_stop(container, self.memory, self.now, grace, "the pod has no such container"))
            else:
                plans.append(Plan((RemoveContainer(container.id),)))
        return merge(plans)

    def _remove_leftovers(self, sandbox: ObservedSandbox | None) -> Plan:
        """Of each container the newest run stays, and the one before for `logs --previous`; of the
        sandboxes only the one in use."""
        steps: list[Step] = []
        for container in self.pod.spec.containers:
            mine = [run for run in self.observed.containers if run.name == container.name]
            mine.sort(key=lambda run: run.attempt, reverse=True)
            steps += [RemoveContainer(run.id) for run in mine[2:] if run.state is not State.RUNNING]
        used = {container.sandbox_id for container in self.observed.running}
        steps += [
            RemoveSandbox(box.id)
            for box in self.observed.sandboxes
            if box.id not in used and (sandbox is None or box.id != sandbox.id)
        ]
        return Plan(tuple(steps))


def _failure_waiting(reason: str, message: str, count: int) -> Waiting:
    """Kubernetes shows a failing pull as ErrImagePull first and then as ImagePullBackOff."""
    if reason == "ErrImagePull" and count > 1:
        return Waiting("ImagePullBackOff", f"back-off after {count} attempts: {message}")
    return Waiting(reason, message)
