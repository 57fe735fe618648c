from __future__ import annotations

import pytest

from h9s._pb import core_pb2
from h9s.cli.pod_summary import pod_ready, pod_restarts, pod_status
from tests.unit.cli.fake_cluster import START
from tests.unit.cli.objects import pod


def _waiting(reason: str) -> core_pb2.Pod:
    result = pod(ready=False)
    result.status.container_statuses[0].state.Clear()
    result.status.container_statuses[0].state.waiting.reason = reason
    return result


def _ended(*, reason: str = "", exit_code: int = 0, signal: int = 0, phase: str = "Running") -> core_pb2.Pod:
    result = pod(ready=False, phase=phase)
    ended = result.status.container_statuses[0].state.terminated
    ended.reason, ended.exit_code, ended.signal = reason, exit_code, signal
    return result


@pytest.mark.parametrize(
    "reason", ["CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "ContainerCreating"]
)
def test_why_a_container_waits_is_the_pods_status(reason: str) -> None:
    assert pod_status(_waiting(reason)) == reason


def test_how_a_container_ended() -> None:
    assert pod_status(_ended(reason="Completed", phase="Succeeded")) == "Completed"
    assert pod_status(_ended(reason="OOMKilled", exit_code=137)) == "OOMKilled"
    assert pod_status(_ended(exit_code=3)) == "ExitCode:3"
    assert pod_status(_ended(signal=9)) == "Signal:9"


def test_the_phase_where_there_is_nothing_better() -> None:
    assert pod_status(core_pb2.Pod()) == "Pending"
    assert pod_status(pod(phase="Failed")) == "Failed"
    evicted = pod(phase="Failed")
    evicted.status.reason = "Evicted"
    assert pod_status(evicted) == "Evicted"


def test_a_pod_that_is_being_deleted() -> None:
    leaving = pod()
    leaving.metadata.deletion_timestamp.seconds = START
    assert pod_status(leaving) == "Terminating"
    leaving.status.reason = "NodeLost"
    assert pod_status(leaving) == "Unknown"
    done = _ended(reason="Completed", phase="Succeeded")
    done.metadata.deletion_timestamp.seconds = START
    assert pod_status(done) == "Completed"


def test_of_several_containers_the_first_in_trouble_counts() -> None:
    both = pod(containers=("a", "b"))
    for status, reason in zip(
        both.status.container_statuses, ("ErrImagePull", "CrashLoopBackOff"), strict=True
    ):
        status.state.Clear()
        status.state.waiting.reason = reason
    assert pod_status(both) == "ErrImagePull"


def test_one_container_done_and_one_running_is_running() -> None:
    mixed = pod(containers=("job", "server"))
    mixed.status.container_statuses[0].ready = False
    mixed.status.container_statuses[0].state.Clear()
    mixed.status.container_statuses[0].state.terminated.reason = "Completed"
    assert pod_status(mixed) == "Running"
    assert pod_ready(mixed) == "1/2"
    mixed.status.conditions[0].status = "False"
    assert pod_status(mixed) == "NotReady"


def test_restarts_say_when_the_last_one_was() -> None:
    restarted = pod(containers=("a", "b"))
    assert pod_restarts(restarted, START) == "0"
    for status, count, ago in zip(restarted.status.container_statuses, (2, 1), (600, 180), strict=True):
        status.restart_count = count
        status.last_state.terminated.finished_at.seconds = START - ago
    assert pod_restarts(restarted, START) == "3 (3m ago)"
