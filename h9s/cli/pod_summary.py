"""One word for what a pod is doing, and its counts, as kubectl's tables show them. Pure.

A pod's phase hides what people ask for: which container waits, why, and how often it has failed. The
words follow kubectl: `CrashLoopBackOff`, `ErrImagePull`, `Completed`, `Terminating`, `Unknown`.
"""

from __future__ import annotations

from h9s._pb import core_pb2
from h9s.api import conditions
from h9s.cli.durations import human_duration


def pod_status(pod: core_pb2.Pod) -> str:
    """The STATUS column."""
    status = pod.status
    finished = status.phase in ("Succeeded", "Failed")
    if pod.metadata.HasField("deletion_timestamp") and not finished:
        return "Unknown" if status.reason == "NodeLost" else "Terminating"
    word = status.reason or status.phase or "Pending"
    # Of several containers in trouble the first one declared is shown.
    for container in reversed(status.container_statuses):
        word = _container_word(container) or word
    if word == "Completed" and any(_is_running(container) for container in status.container_statuses):
        ready = conditions.get(status.conditions, "Ready")
        return "Running" if ready is not None and ready.status == "True" else "NotReady"
    return word


def _container_word(container: core_pb2.ContainerStatus) -> str:
    state = container.state
    if state.HasField("waiting"):
        return state.waiting.reason
    if state.HasField("terminated"):
        ended = state.terminated
        fallback = f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"
        return ended.reason or fallback
    return ""


def _is_running(container: core_pb2.ContainerStatus) -> bool:
    return container.ready and container.state.HasField("running")


def pod_ready(pod: core_pb2.Pod) -> str:
    """The READY column: containers that are ready of all that there are."""
    ready = sum(_is_running(container) for container in pod.status.container_statuses)
    return f"{ready}/{len(pod.spec.containers)}"


def pod_restarts(pod: core_pb2.Pod, now: float) -> str:
    """The RESTARTS column, with how long ago the last one was; `now` in seconds since 1970."""
    count = sum(container.restart_count for container in pod.status.container_statuses)
    ends = [
        container.last_state.terminated.finished_at.seconds
        for container in pod.status.container_statuses
        if container.last_state.terminated.HasField("finished_at")
    ]
    if not count or not ends:
        return str(count)
    return f"{count} ({human_duration(now - max(ends))} ago)"
