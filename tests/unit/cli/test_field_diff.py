"""What people are told of the difference between two states."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import apps_pb2, core_pb2
from h9s.cli.field_diff import _changes, field_changes
from tests.unit.cli.objects import deployment


def lines(before, after):
    return [str(change) for change in field_changes(before, after)]


def changed(message, change):
    copy = type(message)()
    copy.CopyFrom(message)
    change(copy)
    return copy


def test_a_field_is_named_with_both_values():
    before = deployment()
    before.spec.replicas = 1
    after = changed(before, lambda message: setattr(message.spec, "replicas", 3))
    assert lines(before, after) == ["  spec.replicas: 1 -> 3"]
    assert lines(before, before) == []


def test_items_of_lists_are_told_apart_by_name():
    before = core_pb2.Pod()
    for name in ("web", "log"):
        before.spec.containers.add(name=name, image=f"{name}:1")

    def change(pod):
        pod.spec.containers[0].image = "web:2"
        pod.spec.containers[1].env.add(name="A", value="b c")
        pod.spec.containers.add(name="new", image="new:1")

    assert lines(before, changed(before, change)) == [
        "  spec.containers[web].image: web:1 -> web:2",
        '+ spec.containers[log].env: [{"name": "A", "value": "b c"}]',
        '+ spec.containers[new]: {"image": "new:1", "name": "new"}',
    ]


def test_the_order_of_named_items_is_no_difference():
    before = core_pb2.Pod()
    before.spec.containers.add(name="a")
    before.spec.containers.add(name="b")
    after = core_pb2.Pod()
    after.spec.containers.add(name="b")
    after.spec.containers.add(name="a")
    assert lines(before, after) == []


def test_labels_with_slashes_and_dots_are_readable():
    before = apps_pb2.Deployment()
    before.metadata.labels["app.kubernetes.io/name"] = "x"
    after = apps_pb2.Deployment()
    after.metadata.labels["plain"] = "y"
    assert lines(before, after) == [
        "- metadata.labels[app.kubernetes.io/name]: x",
        "+ metadata.labels.plain: y",
    ]


def test_what_follows_from_the_write_itself_is_left_out():
    before = apps_pb2.Deployment()
    after = apps_pb2.Deployment()
    after.metadata.resource_version = "7"
    after.metadata.generation = 2
    after.status.observed_generation = 2
    after.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    assert [line for line in lines(before, after) if "status" not in line and "annotations" not in line] == []


def test_long_values_are_cut_and_control_characters_shown_as_escapes():
    before = core_pb2.Pod()
    after = core_pb2.Pod()
    after.metadata.annotations["long"] = "x" * 1000
    after.metadata.annotations["odd"] = "a\nb\x1b[2J"
    shown = "\n".join(lines(before, after))
    assert len(shown) < 300
    assert "\x1b" not in shown


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "type", "a", "b/c"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=2), values), st.dictionaries(st.text(max_size=2), values))
def test_equal_states_have_no_difference_and_others_have_one(before, after):
    assert list(_changes("", before, before)) == []
    found = [str(change) for change in _changes("", before, after)]
    assert all(line.isprintable() for line in found)
