"""A batch is placed as if its pods came one after the other, each on the least loaded node."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from h9s.api.pods import Resources
from h9s.placement.demand import Demand, HostPort
from h9s.placement.filters import fits
from h9s.placement.node import NodeSnapshot
from h9s.placement.place import Failure, Placement, place
from h9s.placement.score import score

GI = 1024**3


def make_node(name: str, **fields) -> NodeSnapshot:
    return NodeSnapshot(**{"name": name, "allocatable": Resources(4000, 8 * GI), **fields})


def batch(count: int, demand: Demand = Demand()) -> list[tuple[str, Demand]]:  # noqa: B008
    return [(f"p{index}", demand) for index in range(count)]


def test_the_least_loaded_node_is_preferred():
    nodes = [make_node("a", requested=Resources(2000, 0), nominal=Resources(2000, 0)), make_node("b")]
    assert place(batch(1), nodes).bindings == {"p0": "b"}


def test_load_is_a_fraction_of_what_the_node_offers():
    small = make_node("a", allocatable=Resources(1000, GI))
    large = make_node("b", allocatable=Resources(8000, 8 * GI), nominal=Resources(1000, GI))
    assert place(batch(1, Demand(Resources(500, GI // 2))), [small, large]).bindings == {"p0": "b"}


def test_pods_without_requests_spread_evenly():
    placement = place(batch(30), [make_node("a"), make_node("b"), make_node("c")])
    assert Counter(placement.bindings.values()) == {"a": 10, "b": 10, "c": 10}


def test_pods_without_requests_avoid_the_node_whose_resources_are_taken():
    busy = make_node("a", requested=Resources(3000, 6 * GI), nominal=Resources(3000, 6 * GI), pod_count=1)
    placement = place(batch(4), [busy, make_node("b")])
    assert set(placement.bindings.values()) == {"b"}


def test_a_batch_counts_what_it_has_already_placed():
    placement = place(batch(3, Demand(Resources(3000, 0))), [make_node("a"), make_node("b")])
    assert placement.bindings == {"p0": "a", "p1": "b"}
    assert placement.failures["p2"].summary() == "0/2 nodes are available: 2 Insufficient cpu."


def test_a_host_port_is_given_out_once_per_node():
    placement = place(batch(3, Demand(host_ports=(HostPort("TCP", 80),))), [make_node("a"), make_node("b")])
    assert sorted(placement.bindings.values()) == ["a", "b"]
    assert list(placement.failures) == ["p2"]


def test_the_summary_counts_nodes_per_reason():
    nodes = [
        make_node("a", unschedulable=True, requested=Resources(4000, 0)),
        make_node("b", requested=Resources(3000, 0)),
        make_node("c", requested=Resources(3500, 0)),
    ]
    failure = place(batch(1, Demand(Resources(2000, 0))), nodes).failures["p0"]
    assert failure.summary() == ("0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.")
    assert failure.details() == (
        "a: unschedulable: the node is cordoned; Insufficient cpu: requested 2, free 0 of 4",
        "b: Insufficient cpu: requested 2, free 1 of 4",
        "c: Insufficient cpu: requested 2, free 0.5 of 4",
    )


def test_without_nodes_the_summary_says_so():
    failure = place(batch(1), []).failures["p0"]
    assert failure.summary() == failure.explanation() == "0/0 nodes are available: no node has joined yet."


def test_an_explanation_has_the_details_of_a_few_nodes():
    nodes = [make_node(f"n{index}", unschedulable=True) for index in range(3)]
    failure = place(batch(1), nodes).failures["p0"]
    assert failure.explanation(limit=2) == (
        "0/3 nodes are available: 3 node(s) were unschedulable. "
        "n0: unschedulable: the node is cordoned; n1: unschedulable: the node is cordoned; and 1 more nodes"
    )


# Generated clusters.

demands = st.builds(
    Demand,
    requests=st.builds(
        Resources, st.sampled_from([0, 100, 700, 1500]), st.sampled_from([0, GI // 4, GI, 3 * GI])
    ),
    node_selector=st.sampled_from([(), (("disk", "ssd"),)]),
    host_ports=st.sampled_from([(), (HostPort("TCP", 80),)]),
)
node_lists = st.lists(
    st.builds(
        NodeSnapshot,
        name=st.integers(0, 99).map(lambda number: f"n{number}"),
        labels=st.sampled_from([{}, {"disk": "ssd"}]),
        not_ready=st.sampled_from(["", "", "", "Ready is Unknown"]),
        unschedulable=st.sampled_from([False, False, True]),
        allocatable=st.builds(Resources, st.sampled_from([1000, 4000]), st.sampled_from([GI, 8 * GI])),
        max_pods=st.integers(0, 5),
    ),
    max_size=6,
    unique_by=lambda node: node.name,
)
batches = st.lists(demands, max_size=20).map(lambda some: [(str(i), demand) for i, demand in enumerate(some)])


def place_one_by_one(pods: list[tuple[str, Demand]], nodes: list[NodeSnapshot]) -> Placement[str]:
    """The definition: no cleverness."""
    current = {node.name: node for node in nodes}
    bindings: dict[str, str] = {}
    failures: dict[str, Failure] = {}
    for pod, demand in pods:
        candidates = [score(demand, node) for node in current.values() if not fits(demand, node)]
        if candidates:
            name = min(candidates).name
            bindings[pod] = name
            current[name] = current[name].with_pod(demand)
        else:
            failures[pod] = Failure(())
    return Placement(bindings, failures)


@given(batches, node_lists)
def test_a_batch_is_placed_like_its_pods_one_by_one(pods, nodes):
    placement, expected = place(pods, nodes), place_one_by_one(pods, nodes)
    assert placement.bindings == expected.bindings
    assert placement.failures.keys() == expected.failures.keys()


@given(batches, node_lists)
def test_nothing_is_overcommitted_and_every_pod_is_accounted_for(pods, nodes):
    placement = place(pods, nodes)
    assert sorted([*placement.bindings, *placement.failures]) == sorted(pod for pod, _ in pods)
    by_pod = dict(pods)
    for node in nodes:
        taken = [by_pod[pod] for pod, name in placement.bindings.items() if name == node.name]
        full = node.with_pods(taken)
        assert not taken or (not node.not_ready and not node.unschedulable)
        assert full.pod_count <= node.max_pods
        assert min(full.free) >= 0
        assert len(full.host_ports) <= 1
        assert all(node.labels.get(key) == value for demand in taken for key, value in demand.node_selector)


@given(batches, node_lists, st.randoms())
def test_the_order_of_nodes_does_not_matter(pods, nodes, rng):
    shuffled = list(nodes)
    rng.shuffle(shuffled)
    assert place(pods, nodes) == place(pods, shuffled)


@given(batches, node_lists)
def test_a_failure_names_every_node_with_a_reason(pods, nodes):
    for failure in place(pods, nodes).failures.values():
        assert [refusal.node for refusal in failure.refusals] == sorted(node.name for node in nodes)
        assert all(refusal.reasons for refusal in failure.refusals)
        assert failure.summary().startswith(f"0/{len(nodes)} nodes are available: ")


@given(st.integers(1, 40), st.integers(1, 6))
def test_equal_pods_on_equal_nodes_differ_by_one_at_most(pod_count, node_count):
    nodes = [make_node(f"n{index}") for index in range(node_count)]
    counts = Counter(place(batch(pod_count), nodes).bindings.values())
    assert max(counts.values()) - min(counts.get(node.name, 0) for node in nodes) <= 1
