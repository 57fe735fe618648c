"""Field selectors select by the fields that manifests show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import core_pb2, meta_pb2
from h9s.api.fields import FieldRequirement, FieldSelector, scalar_paths
from h9s.api.kinds import find_kind
from h9s.errors import InvalidError
from tests.unit.api.manifests import pod


def bound_pod() -> core_pb2.Pod:
    message = pod()
    message.spec.node_name = "n1"
    message.status.phase = "Running"
    message.status.pod_ip = "10.0.0.7"
    return message


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=web-1,spec.nodeName=n1,status.phase!=Failed", True),
        ("spec.nodeName==n2", False),
        ("spec.nodeName=", False),
        ("status.podIP=10.0.0.7", True),
        ("metadata.namespace = default , status.phase = Running", True),
        ("spec.hostname=", True),
        ("spec.terminationGracePeriodSeconds=30", True),
    ],
)
def test_a_selector_matches_as_it_says(text, matches):
    assert FieldSelector.parse(text).matches(bound_pod()) is matches


def test_booleans_are_true_and_false():
    node = core_pb2.Node(spec=core_pb2.NodeSpec(unschedulable=True))
    assert FieldSelector.parse("spec.unschedulable=true").matches(node)
    assert FieldSelector.parse("spec.unschedulable=false").matches(core_pb2.Node())


def test_events_are_found_by_what_they_are_about():
    event = core_pb2.Event(involved_object=meta_pb2.ObjectReference(kind="Pod", name="web"), reason="Started")
    assert FieldSelector.parse("involvedObject.kind=Pod,involvedObject.name=web,reason=Started").matches(
        event
    )
    assert not FieldSelector.parse("involvedObject.name=db").matches(event)


def test_a_field_that_the_kind_lacks_counts_as_empty():
    assert not FieldSelector.parse("spec.nodeName=n1").matches(core_pb2.Node())
    assert FieldSelector.parse("spec.nodeName!=n1").matches(core_pb2.Node())


@pytest.mark.parametrize("text", ["spec.nodeName", "a=b,", "a=b=c", "=x", "a in (b)"])
def test_a_selector_that_cannot_be_understood_is_refused(text):
    with pytest.raises(InvalidError, match="cannot understand"):
        FieldSelector.parse(text)


def test_a_field_that_does_not_exist_is_refused_with_the_nearest():
    FieldSelector.parse("spec.nodeName=n1").check(find_kind("pod"))
    with pytest.raises(
        InvalidError, match=r"Pod has no field 'spec\.nodename' .*did you mean 'spec\.nodeName'"
    ):
        FieldSelector.parse("spec.nodename=n1").check(find_kind("pod"))
    with pytest.raises(InvalidError, match=r"has no field 'spec\.containers'"):
        FieldSelector.parse("spec.containers=x").check(find_kind("pod"))


paths = st.sampled_from(scalar_paths(core_pb2.Pod.DESCRIPTOR))
values = st.text(st.sampled_from("ab\\,= "), max_size=6).map(str.strip)


@given(st.lists(st.builds(FieldRequirement, paths, st.booleans(), values), max_size=3))
def test_a_selector_reads_back_from_its_own_text(requirements):
    selector = FieldSelector(tuple(requirements))
    assert FieldSelector.parse(str(selector)) == selector
