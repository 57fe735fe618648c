"""Which container is meant, whether it runs, and where its howbelet is."""

import pytest

from h9s._pb import core_pb2
from h9s.apiserver.howbelets import (
    address_of,
    choose_container,
    require_running,
    require_started,
    unreachable,
)
from h9s.errors import InvalidError, UnavailableError
from tests.unit.apiserver.support import node, pod


def with_containers(*names, node_name="n1"):
    message = pod(node=node_name)
    del message.spec.containers[:]
    for name in names:
        message.spec.containers.add(name=name)
    return message


def with_state(**state):
    message = with_containers("main")
    restart_count = state.pop("restart_count", 0)
    message.status.container_statuses.add(
        name="main", state=core_pb2.ContainerState(**state), restart_count=restart_count
    )
    return message


class TestContainers:
    def test_the_only_one_is_meant(self):
        assert choose_container(with_containers("main"), "") == "main"

    def test_of_several_one_must_be_named(self):
        both = with_containers("a", "b")
        assert choose_container(both, "b") == "b"
        with pytest.raises(InvalidError, match="several containers, name one: a, b"):
            choose_container(both, "")

    def test_it_must_exist(self):
        with pytest.raises(InvalidError, match="no container 'x'; it has: a, b"):
            choose_container(with_containers("a", "b"), "x")


class TestStates:
    def test_a_running_one_is_fine(self):
        running = with_state(running=core_pb2.ContainerStateRunning())
        require_running(running, "main")
        require_started(running, "main")

    def test_one_that_ended_has_logs_but_runs_no_commands(self):
        ended = with_state(terminated=core_pb2.ContainerStateTerminated(exit_code=3))
        require_started(ended, "main")
        with pytest.raises(InvalidError, match="it ended with exit code 3"):
            require_running(ended, "main")

    def test_one_that_waits_says_why(self):
        waiting = with_state(
            waiting=core_pb2.ContainerStateWaiting(reason="ErrImagePull", message="no such image")
        )
        for check in (require_running, require_started):
            with pytest.raises(InvalidError, match=r"waiting to start \(ErrImagePull: no such image\)"):
                check(waiting, "main")

    def test_one_that_crashed_and_waits_has_logs(self):
        crashed = with_state(
            waiting=core_pb2.ContainerStateWaiting(reason="CrashLoopBackOff"), restart_count=2
        )
        require_started(crashed, "main")

    def test_without_a_node_nothing_runs(self):
        with pytest.raises(InvalidError, match="waiting for a node"):
            require_running(with_containers("main", node_name=""), "main")

    def test_nothing_reported_yet(self):
        with pytest.raises(InvalidError, match="not reported it yet"):
            require_started(with_containers("main"), "main")


class TestAddresses:
    def test_it_is_what_the_node_reports(self):
        found = node()
        found.status.addresses.add(type="Hostname", address="machine")
        found.status.addresses.add(type="InternalIP", address="10.0.0.5")
        found.status.daemon_endpoints.kubelet_endpoint.port = 7460
        assert address_of(found) == "10.0.0.5:7460"
        found.status.addresses[1].address = "fd00::5"
        assert address_of(found) == "[fd00::5]:7460"

    def test_a_node_that_reports_none_is_unavailable(self):
        with pytest.raises(UnavailableError, match="'n1' has not reported"):
            address_of(node())

    def test_an_unreachable_one_is_named(self):
        error = unreachable(node(), "10.0.0.5:7460", "connection refused")
        for part in ("n1", "10.0.0.5:7460", "connection refused", "not ready"):
            assert part in error.message
