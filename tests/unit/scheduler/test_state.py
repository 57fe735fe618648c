"""The scheduler's books: who waits, and what is left on each node."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import core_pb2, meta_pb2
from h9s.placement.demand import demand_of
from h9s.placement.filters import fits
from h9s.placement.node import node_snapshot
from h9s.scheduler.state import Binding, Round, SchedulingState


def make_node(name: str = "n1", *, cpu: str = "4", ready: bool = True, **spec) -> core_pb2.Node:
    return core_pb2.Node(
        metadata=meta_pb2.ObjectMeta(name=name, resource_version="1"),
        spec=core_pb2.NodeSpec(**spec),
        status=core_pb2.NodeStatus(
            allocatable={"cpu": cpu, "memory": "8Gi"},
            conditions=[meta_pb2.Condition(type="Ready", status="True" if ready else "False")],
        ),
    )


def make_pod(name: str, *, cpu: str = "1", node: str = "", phase: str = "Pending") -> core_pb2.Pod:
    resources = core_pb2.ResourceRequirements(requests={"cpu": cpu})
    return core_pb2.Pod(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"),
        spec=core_pb2.PodSpec(containers=[core_pb2.Container(resources=resources)], node_name=node),
        status=core_pb2.PodStatus(phase=phase),
    )


def changed(obj, edit):
    new = copy.deepcopy(obj)
    edit(new)
    return new


def bound(decided: Round) -> dict[str, str]:
    return {pod.metadata.name: node.metadata.name for pod, node in decided.bindings}


def failed(decided: Round) -> list[str]:
    return [pod.metadata.name for pod, _ in decided.failures]


def make_state(*objects) -> SchedulingState:
    state = SchedulingState()
    for obj in objects:
        if isinstance(obj, core_pb2.Node):
            state.observe_node(None, obj)
        else:
            state.observe_pod(None, obj)
    return state


def test_a_pod_without_a_node_is_placed():
    assert bound(make_state(make_node(), make_pod("a")).schedule()) == {"a": "n1"}


def test_a_pod_is_decided_on_once():
    state = make_state(make_node(), make_pod("a"))
    state.schedule()
    assert state.schedule() == Round([], [])


def test_bound_and_assumed_pods_take_room():
    state = make_state(make_node(cpu="2"), make_pod("a", node="n1"), make_pod("b"), make_pod("c"))
    decided = state.schedule()
    assert bound(decided) == {"b": "n1"}
    assert failed(decided) == ["c"]


def test_a_pod_that_has_ended_takes_no_room():
    state = make_state(make_node(cpu="1"), make_pod("a", node="n1", phase="Succeeded"), make_pod("b"))
    assert bound(state.schedule()) == {"b": "n1"}


def test_a_pod_that_fits_nowhere_waits_for_a_change():
    state = make_state(make_node(cpu="1"), make_pod("a", cpu="2"))
    assert failed(state.schedule()) == ["a"]
    assert state.schedule() == Round([], [])
    assert state.unschedulable_count == 1


def test_a_new_node_is_a_change():
    state = make_state(make_pod("a"))
    state.schedule()
    state.observe_node(None, make_node())
    assert bound(state.schedule()) == {"a": "n1"}


def test_a_node_that_is_uncordoned_is_a_change():
    cordoned = make_node(unschedulable=True)
    state = make_state(cordoned, make_pod("a"))
    state.schedule()
    state.observe_node(cordoned, make_node())
    assert bound(state.schedule()) == {"a": "n1"}


def test_a_node_whose_placement_stays_the_same_is_no_change():
    node = make_node()
    state = make_state(node, make_pod("a", cpu="9"))
    state.schedule()
    state.observe_node(node, changed(node, lambda new: setattr(new.metadata, "resource_version", "2")))
    assert state.waiting_count == 0


def test_a_pod_that_goes_makes_room():
    first = make_pod("a", node="n1")
    state = make_state(make_node(cpu="1"), first, make_pod("b"))
    assert failed(state.schedule()) == ["b"]
    state.observe_pod(first, None)
    assert bound(state.schedule()) == {"b": "n1"}


def test_a_pod_that_ends_makes_room():
    first = make_pod("a", node="n1")
    state = make_state(make_node(cpu="1"), first, make_pod("b"))
    state.schedule()
    state.observe_pod(first, make_pod("a", node="n1", phase="Failed"))
    assert bound(state.schedule()) == {"b": "n1"}


def test_a_terminating_pod_keeps_its_room_until_it_is_gone():
    first = make_pod("a", node="n1")
    state = make_state(make_node(cpu="1"), first, make_pod("b"))
    state.schedule()
    state.observe_pod(
        first, changed(first, lambda pod: setattr(pod.metadata.deletion_timestamp, "seconds", 1))
    )
    assert failed(state.schedule()) == []


def test_a_retracted_binding_frees_its_room_and_the_pod_waits_again():
    pod = make_pod("a")
    state = make_state(make_node(cpu="1"), pod, make_pod("b"))
    assert bound(state.schedule()) == {"a": "n1"}
    state.retract(pod)
    assert bound(state.schedule()) == {"a": "n1"}


def test_a_binding_that_was_seen_is_not_retracted():
    pod = make_pod("a")
    state = make_state(make_node(cpu="1"), pod)
    state.schedule()
    state.observe_pod(pod, make_pod("a", node="n1"))
    state.retract(pod)
    assert state.waiting_count == 0
    state.observe_pod(None, make_pod("b"))
    assert failed(state.schedule()) == ["b"]


def test_an_update_of_a_pod_being_bound_keeps_its_room():
    pod = make_pod("a")
    state = make_state(make_node(cpu="1"), pod)
    state.schedule()
    state.observe_pod(pod, changed(pod, lambda new: new.metadata.labels.update({"x": "y"})))
    state.observe_pod(None, make_pod("b"))
    assert failed(state.schedule()) == ["b"]


def test_a_retracted_pod_is_bound_as_it_is_now():
    pod = make_pod("a")
    state = make_state(make_node(), pod)
    state.schedule()
    state.observe_pod(pod, changed(pod, lambda new: setattr(new.metadata, "resource_version", "7")))
    state.retract(pod)
    ((now, _),) = state.schedule().bindings
    assert now.metadata.resource_version == "7"


def test_a_pod_that_goes_while_it_is_being_bound_is_forgotten():
    pod = make_pod("a")
    state = make_state(make_node(cpu="1"), pod)
    state.schedule()
    state.observe_pod(pod, None)
    state.retract(pod)
    state.observe_pod(None, make_pod("b"))
    assert bound(state.schedule()) == {"b": "n1"}


def test_a_pod_of_the_same_name_is_another_one():
    pod = make_pod("a")
    state = make_state(make_node(cpu="1"), pod)
    state.schedule()
    again = changed(pod, lambda new: setattr(new.metadata, "uid", "uid-again"))
    state.observe_pod(pod, again)
    state.retract(pod)
    assert [binding.pod.metadata.uid for binding in state.schedule().bindings] == ["uid-again"]


def test_those_who_waited_longer_come_first():
    state = make_state(make_pod("a"), make_pod("b"))
    state.schedule()
    state.observe_pod(None, make_pod("c"))
    state.observe_node(None, make_node(cpu="1"))
    decided = state.schedule()
    assert bound(decided) == {"a": "n1"}
    assert failed(decided) == ["b", "c"]


def test_a_pod_without_a_node_that_is_being_deleted_is_left_alone():
    pod = make_pod("a")
    pod.metadata.deletion_timestamp.seconds = 1
    assert make_state(make_node(), pod).schedule() == Round([], [])


# Generated histories.

NAMES = st.sampled_from("abcdef")
NODES = st.sampled_from(["n1", "n2"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, st.sampled_from(["0", "1", "2"])),
        st.tuples(st.just("remove"), NAMES, st.none()),
        st.tuples(st.just("end"), NAMES, st.none()),
        st.tuples(st.just("node"), NODES, st.tuples(st.sampled_from(["1", "3"]), st.booleans())),
        st.tuples(st.just("remove_node"), NODES, st.none()),
        st.tuples(st.just("round"), st.none(), st.none()),
        st.tuples(st.just("answer"), st.integers(0, 9), st.booleans()),
    ),
    max_size=40,
)


class History:
    """The true cluster, and the state that follows it."""

    def __init__(self) -> None:
        self.state = SchedulingState()
        self.pods: dict[str, core_pb2.Pod] = {}
        self.nodes: dict[str, core_pb2.Node] = {}
        self.under_way: list[Binding] = []
        self.serial = 0

    def play(self, events) -> None:
        for name, *arguments in events:
            getattr(self, name)(*arguments)

    def set_pod(self, name: str, pod: core_pb2.Pod | None) -> None:
        old = self.pods.pop(name, None)
        if pod is not None:
            self.pods[name] = pod
        if old is not None or pod is not None:
            self.state.observe_pod(old, pod)

    def create(self, name: str, cpu: str) -> None:
        if name not in self.pods:
            self.serial += 1
            pod = make_pod(name, cpu=cpu)
            pod.metadata.uid = str(self.serial)
            self.set_pod(name, pod)

    def remove(self, name: str, _: None) -> None:
        self.set_pod(name, None)

    def end(self, name: str, _: None) -> None:
        if name in self.pods:
            self.set_pod(name, changed(self.pods[name], lambda pod: setattr(pod.status, "phase", "Failed")))

    def node(self, name: str, what: tuple[str, bool]) -> None:
        cpu, ready = what
        node = make_node(name, cpu=cpu, ready=ready)
        self.state.observe_node(self.nodes.get(name), node)
        self.nodes[name] = node

    def remove_node(self, name: str, _: None) -> None:
        if name in self.nodes:
            self.state.observe_node(self.nodes.pop(name), None)

    def round(self, *_: None) -> None:
        decided = self.state.schedule()
        for binding in decided.bindings:
            assert self.fits(binding.pod, binding.node)
            self.under_way.append(binding)
        for pod, failure in decided.failures:
            assert [refusal.node for refusal in failure.refusals] == sorted(self.nodes)
            assert pod.metadata.name in self.pods

    def fits(self, pod: core_pb2.Pod, node: core_pb2.Node) -> bool:
        """On the node as it is, beside what is bound and what is under way."""
        name = node.metadata.name
        on_it = [
            other
            for other in self.pods.values()
            if other.spec.node_name == name and other.status.phase != "Failed"
        ]
        on_it += [b.pod for b in self.under_way if b.node.metadata.name == name and self.waits(b.pod)]
        return not fits(demand_of(pod), node_snapshot(self.nodes[name], map(demand_of, on_it)))

    def waits(self, pod: core_pb2.Pod) -> bool:
        now = self.pods.get(pod.metadata.name)
        return (
            now is not None
            and now.metadata.uid == pod.metadata.uid
            and not now.spec.node_name
            and now.status.phase != "Failed"
        )

    def answer(self, index: int, succeeds: bool) -> None:
        if not self.under_way:
            return
        pod, node = self.under_way.pop(index % len(self.under_way))
        if not self.waits(pod) or not succeeds:
            self.state.retract(pod)
            return
        name = pod.metadata.name
        self.set_pod(
            name, changed(self.pods[name], lambda p: setattr(p.spec, "node_name", node.metadata.name))
        )


@settings(max_examples=1000, deadline=None)
@given(EVENTS)
def test_room_is_given_out_once_and_no_pod_is_forgotten(events):
    history = History()
    history.play(events)
    for _ in range(50):
        history.round()
        while history.under_way:
            history.answer(0, True)
        if not history.state.waiting_count:
            break
    for pod in history.pods.values():
        if history.waits(pod):
            assert not any(history.fits(pod, node) for node in history.nodes.values())
    assert history.state.binding_count == 0
    assert history.state.unschedulable_count == sum(map(history.waits, history.pods.values()))
