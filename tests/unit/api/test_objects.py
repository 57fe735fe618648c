"""Objects become keys and bytes, and come back the same."""

import pytest
from google.protobuf.any_pb2 import Any as PbAny
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.api.keys import collection_prefix, object_key, parse_key
from h9s.api.kinds import KINDS, find_kind, kind_of
from h9s.api.objects import any_kind, decode, encode, from_any, from_object, ref, to_any
from h9s.errors import InvalidError
from tests.unit.api.manifests import pod
from tests.unit.api.messages import any_objects

names = st.from_regex(r"[a-z0-9][-a-z0-9.]{0,9}", fullmatch=True)


def test_keys_are_group_kind_namespace_name():
    assert object_key(find_kind("pod"), "default", "web") == "/core/Pod/default/web"
    assert object_key(find_kind("deploy"), "default", "web") == "/apps/Deployment/default/web"
    assert object_key(find_kind("node"), "", "n1") == "/core/Node//n1"
    assert collection_prefix(find_kind("pod")) == "/core/Pod/"
    assert collection_prefix(find_kind("pod"), "default") == "/core/Pod/default/"


@given(st.sampled_from(KINDS), names, names)
def test_a_key_is_taken_apart_into_what_it_was_made_of(kind, namespace, name):
    key = object_key(kind, namespace, name)
    assert parse_key(key) == (kind, namespace, name)
    assert key.startswith(collection_prefix(kind))
    assert key.startswith(collection_prefix(kind, namespace))


@pytest.mark.parametrize(
    "key", ["", "core/Pod/a/b", "/core/Pod/a", "/core/Pod/a/", "/core/Pod/a/b/c", "/x/Y/a/b"]
)
def test_what_is_not_a_key_is_refused(key):
    with pytest.raises(InvalidError):
        parse_key(key)


@given(any_objects)
@settings(max_examples=60, deadline=None)
def test_an_object_comes_back_from_its_bytes_with_its_revision(message):
    message.metadata.resource_version = "3"
    again = decode(kind_of(message), encode(message), 7)
    assert again.metadata.resource_version == "7"
    again.metadata.resource_version = "3"
    assert again == message


def test_the_stored_bytes_do_not_hold_the_revision_and_encoding_changes_nothing():
    message = pod()
    plain = encode(message)
    message.metadata.resource_version = "12"
    assert encode(message) == plain
    assert message.metadata.resource_version == "12"


def test_equal_maps_give_equal_bytes_in_whatever_order_they_were_filled():
    one, other = core_pb2.Pod(), core_pb2.Pod()
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        one.metadata.labels[key] = "x"
    for key in reversed(keys):
        other.metadata.labels[key] = "x"
    assert encode(one) == encode(other)


def test_an_object_travels_as_any_with_the_revision_it_was_read_at():
    message = pod()
    message.metadata.resource_version = "5"
    wrapped = to_any(message)
    assert wrapped.type_url == "type.googleapis.com/h9s.v1.Pod"
    assert any_kind(wrapped).kind == "Pod"
    assert from_any(wrapped) == message


def test_an_answer_carries_its_revision_into_the_object():
    stored = api_pb2.Object(
        value=PbAny(type_url="type.googleapis.com/h9s.v1.Pod", value=encode(pod())), mod_revision=9
    )
    assert from_object(stored).metadata.resource_version == "9"


@pytest.mark.parametrize(
    "value",
    [
        PbAny(),
        PbAny(type_url="type.googleapis.com/h9s.v1.Nope"),
        PbAny(type_url="x/h9s.v1.Pod", value=b"\xff"),
    ],
)
def test_broken_or_unknown_bytes_are_refused(value):
    with pytest.raises(InvalidError):
        from_any(value)


def test_a_reference_names_the_object_as_it_is_now():
    message = pod()
    message.metadata.uid, message.metadata.resource_version = "u1", "4"
    assert ref(message) == meta_pb2.ObjectReference(
        api_version="v1", kind="Pod", namespace="default", name="web-1", uid="u1", resource_version="4"
    )
