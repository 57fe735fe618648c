"""A pod fits a node or is told every reason why not, with numbers."""

import pytest

from h9s._pb import core_pb2, meta_pb2
from h9s.api.pods import Resources
from h9s.placement.demand import Demand, HostPort, demand_of
from h9s.placement.filters import fits
from h9s.placement.node import NodeSnapshot, node_snapshot

GI = 1024**3


def make_node(**fields) -> NodeSnapshot:
    return NodeSnapshot(**{"name": "n1", "allocatable": Resources(4000, 8 * GI), **fields})


def details(demand: Demand, node: NodeSnapshot) -> list[str]:
    return [str(reason) for reason in fits(demand, node)]


def test_a_pod_without_demands_fits_a_ready_node():
    assert fits(Demand(), make_node()) == ()


def test_a_cordoned_node_takes_nothing():
    (reason,) = fits(Demand(), make_node(unschedulable=True))
    assert reason.summary == "node(s) were unschedulable"
    assert "cordoned" in reason.detail


def test_a_node_that_is_not_ready_says_why():
    node = core_pb2.Node(
        metadata=meta_pb2.ObjectMeta(name="n1"),
        status=core_pb2.NodeStatus(
            conditions=[meta_pb2.Condition(type="Ready", status="Unknown", reason="NodeStatusUnknown")]
        ),
    )
    (reason,) = fits(Demand(), node_snapshot(node))
    assert reason.summary == "node(s) were not ready"
    assert reason.detail == "not ready: Ready is Unknown (NodeStatusUnknown)"


def test_a_node_that_never_reported_is_not_ready():
    node = core_pb2.Node(metadata=meta_pb2.ObjectMeta(name="n1"))
    assert details(Demand(), node_snapshot(node)) == ["not ready: it has not reported yet"]


def test_missing_cpu_is_told_with_numbers():
    node = make_node(requested=Resources(3500, 0))
    assert details(Demand(Resources(2000, 0)), node) == ["Insufficient cpu: requested 2, free 0.5 of 4"]


def test_missing_memory_is_told_with_numbers():
    node = make_node(requested=Resources(0, 7 * GI))
    (reason,) = fits(Demand(Resources(0, 2 * GI)), node)
    assert reason.summary == "Insufficient memory"
    assert reason.detail == "Insufficient memory: requested 2Gi, free 1Gi of 8Gi"


def test_every_missing_resource_is_a_reason():
    reasons = fits(Demand(Resources(5000, 9 * GI)), make_node(pod_count=110))
    assert [reason.summary for reason in reasons] == [
        "Too many pods",
        "Insufficient cpu",
        "Insufficient memory",
    ]


def test_exactly_what_is_free_fits():
    node = make_node(requested=Resources(1000, 6 * GI))
    assert fits(Demand(Resources(3000, 2 * GI)), node) == ()


def test_a_pod_without_requests_fits_an_overcommitted_node():
    assert fits(Demand(), make_node(requested=Resources(9000, 9 * GI))) == ()


def test_a_full_node_takes_no_more_pods():
    assert details(Demand(), make_node(max_pods=2, pod_count=2)) == ["Too many pods: 2 of at most 2"]


def test_the_node_selector_names_what_is_missing_and_what_is_there():
    demand = Demand(node_selector=(("disk", "ssd"), ("os", "linux"), ("zone", "a")))
    node = make_node(labels={"os": "linux", "disk": "hdd"})
    (reason,) = fits(demand, node)
    assert reason.summary == "node(s) didn't match nodeSelector disk=ssd,zone=a"
    assert reason.detail == (
        "didn't match nodeSelector disk=ssd,zone=a: disk is 'hdd', there is no label zone"
    )


@pytest.mark.parametrize(
    ("taken", "wanted", "conflict"),
    [
        (HostPort("TCP", 80), HostPort("TCP", 80), True),
        (HostPort("TCP", 80), HostPort("UDP", 80), False),
        (HostPort("TCP", 80), HostPort("TCP", 81), False),
        (HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80, "10.0.0.2"), False),
        (HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80), True),
    ],
)
def test_a_host_port_is_taken_once(taken, wanted, conflict):
    reasons = fits(Demand(host_ports=(wanted,)), make_node(host_ports=(taken,)))
    assert [reason.filter for reason in reasons] == (["hostPorts"] if conflict else [])


def test_all_filters_speak_at_once():
    demand = Demand(Resources(8000, 0), node_selector=(("disk", "ssd"),))
    reasons = fits(demand, make_node(unschedulable=True, not_ready="Ready is False"))
    assert [reason.filter for reason in reasons] == ["schedulable", "ready", "nodeSelector", "resources"]


def test_a_demand_is_read_from_the_pod():
    pod = core_pb2.Pod(
        spec=core_pb2.PodSpec(
            node_selector={"b": "2", "a": "1"},
            containers=[
                core_pb2.Container(
                    ports=[core_pb2.ContainerPort(container_port=80, host_port=8080, host_ip="0.0.0.0")],
                    resources=core_pb2.ResourceRequirements(requests={"cpu": "250m", "memory": "64Mi"}),
                ),
                core_pb2.Container(
                    ports=[core_pb2.ContainerPort(container_port=81)],
                    resources=core_pb2.ResourceRequirements(limits={"cpu": "1"}),
                ),
            ],
        )
    )
    assert demand_of(pod) == Demand(
        requests=Resources(1250, 64 * 1024**2),
        node_selector=(("a", "1"), ("b", "2")),
        host_ports=(HostPort("TCP", 8080),),
    )


def test_a_node_is_read_with_its_pods():
    node = core_pb2.Node(
        metadata=meta_pb2.ObjectMeta(name="n1", labels={"os": "linux"}),
        spec=core_pb2.NodeSpec(unschedulable=True),
        status=core_pb2.NodeStatus(
            capacity={"cpu": "8"},
            allocatable={"cpu": "4", "memory": "8Gi", "pods": "10"},
            conditions=[meta_pb2.Condition(type="Ready", status="True")],
        ),
    )
    snapshot = node_snapshot(node, [Demand(Resources(500, GI)), Demand(host_ports=(HostPort("TCP", 80),))])
    assert snapshot.labels == {"os": "linux"}
    assert snapshot.unschedulable
    assert not snapshot.not_ready
    assert snapshot.max_pods == 10
    assert snapshot.pod_count == 2
    assert snapshot.free == Resources(3500, 7 * GI)
    assert snapshot.host_ports == (HostPort("TCP", 80),)
