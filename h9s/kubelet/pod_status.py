"""A pod's status as Kubernetes computes it: pure, from what there is and what is waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from h9s._pb import core_pb2, meta_pb2
from h9s.api import conditions, pods
from h9s.kubelet.observed import ObservedContainer, ObservedPod, State
from h9s.kubelet.pod_memory import PodMemory
from h9s.kubelet.steps import Waiting
from h9s.kubelet.timestamps import timestamp


def pod_status(
    pod: core_pb2.Pod,
    observed: ObservedPod,
    memory: PodMemory,
    waiting: Mapping[str, Waiting],
    *,
    host_ip: str,
    runtime_name: str,
    now: float,
) -> core_pb2.PodStatus:
    """The status to report. `pod.status` is the previous one: from it come the times of conditions
    that did not change, conditions that others set, and what has been removed since."""
    previous = pod.status
    before = {status.name: status for status in previous.container_statuses}
    statuses = [
        _container_status(container, observed, memory, waiting, before.get(container.name), runtime_name)
        for container in pod.spec.containers
    ]
    phase = _phase(pod, statuses)
    status = core_pb2.PodStatus(
        phase=phase,
        message=previous.message,
        reason=previous.reason,
        host_ip=host_ip,
        pod_ip=observed.sandbox.address if observed.sandbox else previous.pod_ip,
        start_time=previous.start_time if previous.HasField("start_time") else timestamp(now),
        container_statuses=statuses,
        qos_class=previous.qos_class or pods.qos_class(pod),
    )
    if status.pod_ip:
        status.pod_ips.add(ip=status.pod_ip)
    status.conditions.extend(previous.conditions)
    for condition in _conditions(phase, statuses):
        conditions.set_condition(status.conditions, condition, timestamp(now))
    return status


def _container_status(
    container: core_pb2.Container,
    observed: ObservedPod,
    memory: PodMemory,
    waiting: Mapping[str, Waiting],
    before: core_pb2.ContainerStatus | None,
    runtime_name: str,
) -> core_pb2.ContainerStatus:
    last = memory.of(container.name).last
    status = core_pb2.ContainerStatus(name=container.name, image=container.image, started=False)
    why = waiting.get(container.name)
    if last is None:
        why = why or Waiting("ContainerCreating")
        status.state.waiting.CopyFrom(_waiting(why))
        return status
    status.restart_count = last.attempt
    status.image_id = last.image_id
    status.container_id = f"{runtime_name}://{last.id}" if last.id else ""
    if last.state is State.RUNNING:
        status.ready = status.started = True
        status.state.running.started_at.CopyFrom(timestamp(last.started_at or last.created_at))
    elif why is not None:
        status.state.waiting.CopyFrom(_waiting(why))
        status.last_state.terminated.CopyFrom(_terminated(last, runtime_name))
        return status
    else:
        status.state.terminated.CopyFrom(_terminated(last, runtime_name))
    _copy_last_state(status, container.name, last, observed, before, runtime_name)
    return status


def _copy_last_state(
    status: core_pb2.ContainerStatus,
    name: str,
    last: ObservedContainer,
    observed: ObservedPod,
    before: core_pb2.ContainerStatus | None,
    runtime_name: str,
) -> None:
    """How the run before the newest ended: from what is left of it, else from what was reported."""
    earlier = [run for run in observed.containers if run.name == name and run.attempt < last.attempt]
    ended = [run for run in earlier if run.state is State.EXITED]
    if ended:
        newest = max(ended, key=lambda run: run.attempt)
        status.last_state.terminated.CopyFrom(_terminated(newest, runtime_name))
    elif before is not None and before.container_id != status.container_id:
        ended_before = before.state if before.state.HasField("terminated") else before.last_state
        status.last_state.CopyFrom(ended_before)
    elif before is not None:
        status.last_state.CopyFrom(before.last_state)


def _waiting(why: Waiting) -> core_pb2.ContainerStateWaiting:
    return core_pb2.ContainerStateWaiting(reason=why.reason, message=why.message)


def _terminated(run: ObservedContainer, runtime_name: str) -> core_pb2.ContainerStateTerminated:
    state = core_pb2.ContainerStateTerminated(
        exit_code=run.exit_code,
        signal=run.signal,
        reason=run.reason,
        message=run.message,
        container_id=f"{runtime_name}://{run.id}" if run.id else "",
    )
    if run.started_at is not None:
        state.started_at.CopyFrom(timestamp(run.started_at))
    if run.finished_at is not None:
        state.finished_at.CopyFrom(timestamp(run.finished_at))
    return state


def _phase(pod: core_pb2.Pod, statuses: Sequence[core_pb2.ContainerStatus]) -> str:
    """Pending until every container has run once; final once none may run again; Running between."""
    if pods.is_terminal(pod):
        return pod.status.phase
    if any(_never_ran(status) for status in statuses):
        return pods.PENDING
    states = [status.state for status in statuses]
    if any(state.HasField("running") for state in states) or pod.spec.restart_policy not in (
        "Never",
        "OnFailure",
    ):
        return pods.RUNNING
    if not all(state.HasField("terminated") for state in states):
        return pods.RUNNING
    if all(state.terminated.exit_code == 0 for state in states):
        return pods.SUCCEEDED
    return pods.FAILED if pod.spec.restart_policy == "Never" else pods.RUNNING


def _never_ran(status: core_pb2.ContainerStatus) -> bool:
    return status.state.HasField("waiting") and not status.last_state.HasField("terminated")


def _conditions(phase: str, statuses: Sequence[core_pb2.ContainerStatus]) -> Iterable[meta_pb2.Condition]:
    unready = [status.name for status in statuses if not status.ready]
    state, reason, message = "True", "", ""
    if phase in (pods.SUCCEEDED, pods.FAILED):
        state, reason = "False", "PodCompleted" if phase == pods.SUCCEEDED else "PodFailed"
    elif unready:
        state, reason = "False", "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(unready)}]"
    yield meta_pb2.Condition(type="Initialized", status="True")
    for type_ in ("Ready", "ContainersReady"):
        yield meta_pb2.Condition(type=type_, status=state, reason=reason, message=message)
    yield meta_pb2.Condition(type="PodScheduled", status="True")
