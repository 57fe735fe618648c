"""Describes a pod: where it runs, what each container does and did, and why."""

from __future__ import annotations

from h9s._pb import core_pb2
from h9s.cli.describe.common import (
    Related,
    moment,
    put_conditions,
    put_container_spec,
    put_events,
    put_identity,
    put_labels,
    put_owner,
)
from h9s.cli.describe.sheet import Sheet
from h9s.cli.durations import human_duration
from h9s.cli.pod_summary import pod_status


def describe_pod(pod: core_pb2.Pod, related: Related, now: float) -> Sheet:
    """The whole pod."""
    sheet = Sheet()
    put_identity(sheet, pod)
    sheet.put("Node", _place(pod))
    if pod.status.HasField("start_time"):
        sheet.put("Start Time", moment(pod.status.start_time))
    put_labels(sheet, pod)
    sheet.put("Status", _status(pod, now))
    sheet.put_some("Reason", pod.status.reason)
    sheet.put_some("Message", pod.status.message)
    sheet.put("IP", pod.status.pod_ip or "<none>")
    put_owner(sheet, pod)
    _put_containers(sheet, pod)
    put_conditions(sheet, pod.status.conditions, now)
    sheet.put_some("QoS Class", pod.status.qos_class)
    sheet.put("Restart Policy", pod.spec.restart_policy or "Always")
    sheet.put_map("Node-Selectors", pod.spec.node_selector)
    put_events(sheet, related.events, now)
    return sheet


def _place(pod: core_pb2.Pod) -> str:
    return "/".join(part for part in (pod.spec.node_name, pod.status.host_ip) if part) or "<none>"


def _status(pod: core_pb2.Pod, now: float) -> str:
    word = pod_status(pod)
    if word != "Terminating":
        return word
    # The API's deletionTimestamp lies ahead by the grace period.
    grace = pod.metadata.deletion_grace_period_seconds
    since = now - (pod.metadata.deletion_timestamp.seconds - grace)
    return f"{word} (for {human_duration(max(0.0, since))}, grace period {grace}s)"


def _put_containers(sheet: Sheet, pod: core_pb2.Pod) -> None:
    statuses = {status.name: status for status in pod.status.container_statuses}
    containers = sheet.section("Containers")
    for container in pod.spec.containers:
        section = containers.section(container.name)
        status = statuses.get(container.name)
        if status is not None:
            section.put_some("Container ID", status.container_id)
        put_container_spec(section, container)
        if status is not None:
            section.put_some("Image ID", status.image_id)
            _put_state(section, "State", status.state)
            if _has_state(status.last_state):
                _put_state(section, "Last State", status.last_state)
            section.put("Ready", status.ready)
            section.put("Restart Count", status.restart_count)


def _has_state(state: core_pb2.ContainerState) -> bool:
    return state.HasField("waiting") or state.HasField("running") or state.HasField("terminated")


def _put_state(sheet: Sheet, title: str, state: core_pb2.ContainerState) -> None:
    if state.HasField("running"):
        sheet.put(title, f"Running since {moment(state.running.started_at)}")
    elif state.HasField("terminated"):
        ended = state.terminated
        lines = ["Terminated", f"Exit Code: {ended.exit_code}"]
        lines += [f"Signal: {ended.signal}"] if ended.signal else []
        lines += [f"Reason: {ended.reason}"] if ended.reason else []
        lines += [f"Message: {' '.join(ended.message.split())}"] if ended.message else []
        lines += [f"Started: {moment(ended.started_at)}", f"Finished: {moment(ended.finished_at)}"]
        sheet.put_lines(title, lines)
    else:
        waiting = state.waiting
        lines = [f"Waiting: {waiting.reason}" if waiting.reason else "Waiting"]
        lines += [" ".join(waiting.message.split())] if waiting.message else []
        sheet.put_lines(title, lines)
