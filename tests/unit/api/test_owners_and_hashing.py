"""Objects know their owners; templates are told apart by their hashes."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import apps_pb2, core_pb2
from h9s.api import names
from h9s.api.hashing import template_hash
from h9s.api.owners import controlled_by, controller_of, new_controller_ref
from tests.unit.api.manifests import deployment, replica_set
from tests.unit.api.messages import messages


def owner(uid: str) -> apps_pb2.ReplicaSet:
    message = replica_set()
    message.metadata.uid = uid
    return message


def test_what_an_owner_creates_is_managed_by_it():
    pod = core_pb2.Pod()
    pod.metadata.owner_references.append(new_controller_ref(owner("u1")))
    reference = controller_of(pod)
    assert reference is not None
    assert (reference.api_version, reference.kind, reference.name) == ("apps/v1", "ReplicaSet", "web")
    assert reference.block_owner_deletion
    assert controlled_by(pod, owner("u1"))
    assert not controlled_by(pod, owner("u2"))


def test_an_owner_need_not_manage():
    pod = core_pb2.Pod()
    pod.metadata.owner_references.add(uid="u1", controller=False)
    assert not controlled_by(pod, owner("u1"))
    assert controller_of(pod) is None


templates = messages(core_pb2.PodTemplateSpec.DESCRIPTOR)


@given(templates, templates, st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_templates_have_equal_hashes_exactly_if_they_are_equal(one, other, count):
    assert template_hash(copy.deepcopy(one), count) == template_hash(one, count)
    assert (template_hash(one, count) == template_hash(other, count)) is (one == other)


@given(templates, st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_a_hash_fits_into_names_and_another_count_gives_another(template, count):
    found = template_hash(template, count)
    assert not names.dns_label_fault(found)
    assert len(found) == 10
    assert template_hash(template, count + 1) != found


def test_the_hash_is_what_it_always_was():
    # It is part of stored names: another value would make every Deployment roll out again.
    assert template_hash(core_pb2.PodTemplateSpec()) == template_hash(core_pb2.PodTemplateSpec(), 0)
    assert template_hash(deployment().spec.template) == "ws97l5pwpg"
