"""The pods that are worth least go first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import core_pb2, meta_pb2
from h9s.controllers.replica_set.scale_down import DELETION_COST_ANNOTATION, first_to_go
from tests.unit.controllers.world import START, set_ready


def make_pod(
    name: str,
    *,
    node: str = "n1",
    phase: str = "Running",
    ready_since: int | None = START,
    created: int = START,
    restarts: int = 0,
    cost: str = "",
) -> core_pb2.Pod:
    pod = core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, uid=name),
        spec=core_pb2.PodSpec(node_name=node),
        status=core_pb2.PodStatus(
            phase=phase, container_statuses=[core_pb2.ContainerStatus(restart_count=restarts)]
        ),
    )
    pod.metadata.creation_timestamp.seconds = created
    if cost:
        pod.metadata.annotations[DELETION_COST_ANNOTATION] = cost
    if ready_since is not None:
        set_ready(pod, now=ready_since)
    return pod


def names(pods: list[core_pb2.Pod], count: int) -> list[str]:
    return [pod.metadata.name for pod in first_to_go(pods, count)]


def test_each_difference_counts_in_its_order():
    in_order = [
        make_pod("unassigned", node="", phase="Pending", ready_since=None),
        make_pod("pending", phase="Pending", ready_since=None),
        make_pod("unknown", phase="Unknown", ready_since=None),
        make_pod("not-ready", ready_since=None),
        make_pod("cheap", cost="-5"),
        make_pod("crowded", node="n3"),
        make_pod("crowded-too", node="n3", created=START - 1),
        make_pod("ready-late", ready_since=START + 9, created=START - 9, node="n4"),
        make_pod("restarted", restarts=3, created=START - 9, node="n4"),
        make_pod("new", node="n4"),
        make_pod("old", created=START - 9, node="n4"),
        make_pod("dear", cost="5"),
    ]
    by_worth = names(list(reversed(in_order)), len(in_order))
    assert by_worth[:5] == ["unassigned", "pending", "unknown", "not-ready", "cheap"]
    assert by_worth[-1] == "dear"
    on_n4 = [name for name in by_worth if name in ("ready-late", "restarted", "new", "old")]
    assert on_n4 == ["ready-late", "restarted", "new", "old"]


def test_the_most_crowded_node_gives_up_first_and_is_counted_anew():
    pods = [make_pod(f"a{i}", node="a", created=START + i) for i in range(4)] + [make_pod("b", node="b")]
    assert names(pods, 3) == ["a3", "a2", "a1"]


def test_pods_of_lesser_worth_crowd_a_node_too():
    pods = [
        make_pod("a1", node="a"),
        make_pod("a2", node="a", ready_since=None),
        make_pod("a3", node="a", ready_since=None),
        make_pod("b1", node="b", created=START + 9),
    ]
    assert names(pods, 1) == ["a2"] or names(pods, 1) == ["a3"]
    assert set(names(pods, 3)) == {"a2", "a3", "b1"}


def test_a_deletion_cost_that_is_no_number_counts_as_none():
    assert names([make_pod("a", cost="much"), make_pod("b", cost="-1")], 1) == ["b"]


some_pods = st.lists(
    st.builds(
        make_pod,
        name=st.integers(0, 999).map(str),
        node=st.sampled_from(["", "a", "b", "c"]),
        phase=st.sampled_from(["Pending", "Running"]),
        ready_since=st.sampled_from([None, START, START + 5]),
        created=st.sampled_from([START, START + 1]),
        cost=st.sampled_from(["", "3"]),
    ),
    max_size=12,
    unique_by=lambda pod: pod.metadata.name,
)


@given(some_pods, st.integers(0, 12), st.randoms())
def test_the_choice_depends_on_the_pods_alone(pods, count, rng):
    shuffled = list(pods)
    rng.shuffle(shuffled)
    chosen = names(pods, count)
    assert chosen == names(shuffled, count)
    assert len(set(chosen)) == min(count, len(pods))


@given(st.integers(1, 20), st.integers(0, 20))
def test_equal_pods_stay_spread(pod_count, count):
    pods = [make_pod(str(i), node="abc"[i % 3]) for i in range(pod_count)]
    gone = set(names(pods, count))
    left = Counter(pod.spec.node_name for pod in pods if pod.metadata.name not in gone)
    if left:
        assert max(left.values()) - min(left.get(node, 0) for node in "abc"[:pod_count]) <= 1
