"""Kinds are found by every name that users know them by."""

from dataclasses import replace

import pytest

from h9s._pb import api_pb2, apps_pb2, core_pb2
from h9s.api import kinds
from h9s.api.kinds import KINDS, Kind, find_kind, kind_by, kind_of
from h9s.errors import InvalidError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Deployment", "Deployment"),
        ("deployments", "Deployment"),
        ("deploy", "Deployment"),
        ("deployments.apps", "Deployment"),
        ("rs", "ReplicaSet"),
        ("PO", "Pod"),
        ("no", "Node"),
        ("ns", "Namespace"),
        ("ev", "Event"),
        ("leases.coordination.k8s.io", "Lease"),
    ],
)
def test_a_kind_is_found_by_any_of_its_names_in_any_case(name, kind):
    assert find_kind(name).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_by_all_its_names_and_by_its_message(kind):
    assert all(find_kind(name) is kind for name in kind.names)
    assert find_kind(kind.resource) is kind
    assert kind_of(kind.message) is kind
    assert kind_of(kind.message()) is kind
    assert kind_by(kind.group, kind.kind) is kind


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deploymint", "unknown kind 'deploymint', did you mean 'Deployment'?"),
        ("pods.apps", "unknown kind 'pods.apps', did you mean 'pods'?"),
        ("xyz", "unknown kind 'xyz'; there are Namespace, Node, Pod, Event, ReplicaSet, Deployment, Lease"),
    ],
)
def test_an_unknown_kind_is_answered_with_the_nearest_or_with_all(name, message):
    with pytest.raises(InvalidError) as failure:
        find_kind(name)
    assert failure.value.message == message


def test_api_versions_and_resources_are_kubernetes_own():
    assert kind_of(core_pb2.Pod).api_version == "v1"
    assert kind_of(apps_pb2.Deployment).api_version == "apps/v1"
    assert kind_of(apps_pb2.Deployment).resource == "deployments.apps"
    assert kind_of(core_pb2.Pod).has_status
    assert not kind_of(core_pb2.Event).has_status


def test_a_message_that_is_no_object_has_no_kind():
    with pytest.raises(InvalidError, match="GetRequest is not a kind of object"):
        kind_of(api_pb2.GetRequest)  # type: ignore[type-var]


def test_a_kind_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="registered already"):
        kinds.register(kind_of(core_pb2.Pod))


def test_a_name_that_two_groups_use_needs_its_group(monkeypatch):
    other = replace(kind_of(core_pb2.Event), group="events.k8s.io", short_names=())
    monkeypatch.setattr(kinds, "KINDS", [*KINDS, other])
    with pytest.raises(InvalidError, match=r"'event' may be events or events\.events\.k8s\.io: name"):
        find_kind("event")
    assert find_kind("events.events.k8s.io") is other


def test_a_new_kind_can_be_registered(monkeypatch):
    for registry in ("_BY_CLASS", "_BY_GROUP_AND_KIND", "_BY_MESSAGE_NAME"):
        monkeypatch.setattr(kinds, registry, {})
    monkeypatch.setattr(kinds, "KINDS", [])
    kind = Kind("example.com", "v1", "Widget", "widgets", "widget", ("wd",), True, core_pb2.Pod)
    kinds.register(kind)
    assert find_kind("wd") is kind
    assert kind_by("example.com", "Widget") is kind
