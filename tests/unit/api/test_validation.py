"""Objects that break a rule are refused, each fault named by its path."""

import copy
from typing import Any

import pytest

from h9s.api.kinds import KINDS, find_kind
from h9s.api.validation import validate_create, validate_name, validate_update
from tests.unit.api.manifests import POD, complete, deployment, pod, replica_set

LEASE = "{kind: Lease, metadata: {name: a, namespace: default}, spec: {leaseDurationSeconds: 15}}"
NAMESPACE = "{kind: Namespace, metadata: {name: shop}}"
NODE = "{kind: Node, metadata: {name: n1}, status: {capacity: {cpu: 4, memory: 8Gi, pods: 110}}}"
NODE_WITH = "{kind: Node, metadata: {name: n1}, status: {conditions: [%s]}}"
EVENT = """
kind: Event
metadata: {name: web.1, namespace: default}
involvedObject: {kind: Pod, name: web, namespace: default}
type: Normal
"""
TOKEN = f"""
kind: JoinToken
metadata: {{name: abc123}}
spec: {{secretSha256: {"0a" * 32}, expiresAt: 2024-05-01T10:00:00Z}}
"""


def faults(message: Any) -> list[str]:
    return [str(fault) for fault in validate_create(message)]


@pytest.mark.parametrize("text", [POD, LEASE, NAMESPACE, NODE, EVENT, TOKEN])
def test_a_proper_object_has_no_faults(text):
    assert faults(complete(text)) == []


def test_proper_workloads_have_no_faults():
    assert faults(replica_set()) == []
    assert faults(deployment()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_without_anything_is_refused_in_every_kind(kind):
    assert "metadata.name: required (or generateName)" in faults(kind.message())


@pytest.mark.parametrize("name", ["a", "web-1", "web.example", "0", "a" * 63, "a" * 253])
def test_a_dns_name_is_a_good_name(name):
    assert validate_name(find_kind("pod"), name) == []


@pytest.mark.parametrize("name", ["", "Web", "-a", "a-", "a..b", "a_b", "a.-b", "a/b", "ä", "a\n", "a" * 254])
def test_anything_else_is_not(name):
    (fault,) = validate_name(find_kind("pod"), name)
    assert fault.path == "metadata.name"


@pytest.mark.parametrize(("name", "valid"), [("a" * 63, True), ("a" * 64, False), ("a.b", False)])
def test_a_namespace_is_a_single_dns_label(name, valid):
    assert (not validate_name(find_kind("ns"), name)) is valid


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("{name: Web_1}", "metadata.name: 'Web_1' is not a valid name"),
        ("{generateName: Web-, name: web-x}", "metadata.generateName: 'Web' is not a valid name"),
        ("{name: a}", "metadata.namespace: required"),
        ("{name: a, namespace: a.b}", "metadata.namespace: 'a.b' is not a valid name"),
        ("{labels: {-a: b}}", "metadata.labels[-a]: '-a' is not a valid key"),
        ("{labels: {a: b c}}", "metadata.labels[a]: 'b c' is not a valid label value"),
        ("{labels: {A.b/c: d}}", "metadata.labels[A.b/c]: 'A.b/c' is not a valid key: before the '/'"),
        (f"{{labels: {{a: {'b' * 64}}}}}", "is not a valid label value"),
        ("{annotations: {a b: c}}", "metadata.annotations[a b]: 'a b' is not a valid key"),
        (f"{{annotations: {{a: {'b' * 300_000}}}}}", "metadata.annotations: 300001 characters in all"),
        ("{finalizers: [a, b c]}", "metadata.finalizers[1]: 'b c' is not a valid key"),
        (
            "{ownerReferences: [{kind: Pod, name: a, uid: u}]}",
            "metadata.ownerReferences[0].apiVersion: required",
        ),
        (
            "{ownerReferences: [{apiVersion: v1, kind: Pod, name: a}]}",
            "metadata.ownerReferences[0].uid: required",
        ),
        (
            "{ownerReferences: [{controller: true}, {controller: true}]}",
            "metadata.ownerReferences: only one owner can be the controller",
        ),
        ("{resourceVersion: '3'}", "metadata.resourceVersion: must not be set on a new object"),
    ],
)
def test_metadata_must_be_proper(change, fault):
    message = complete(POD.replace("{name: web-1, namespace: default, labels: {app: web}}", change))
    assert any(found.startswith(fault) or fault in found for found in faults(message)), faults(message)


def test_annotations_may_have_an_upper_case_prefix():
    message = complete(POD.replace("labels: {app: web}", "annotations: {Example.COM/a: any thing}"))
    assert faults(message) == []


def test_a_generated_name_may_be_long_and_end_in_a_dash():
    assert faults(complete(POD.replace("namespace:", "generateName: web-, namespace:"))) == []


def test_only_namespaced_kinds_have_a_namespace():
    node = complete(NODE.replace("{name: n1}", "{name: n1, namespace: default}"))
    assert faults(node) == ["metadata.namespace: a Node belongs to no namespace"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LEASE.replace("15", "0"), "spec.leaseDurationSeconds: must be more than 0"),
        (
            LEASE.replace("leaseDurationSeconds: 15", "leaseTransitions: -1"),
            "spec.leaseTransitions: must not be negative",
        ),
        (
            NAMESPACE.replace("{name: shop}", "{name: shop}, spec: {finalizers: [a b]}"),
            "spec.finalizers[0]: 'a b'",
        ),
        (
            NAMESPACE.replace("{name: shop}", "{name: shop}, status: {phase: Gone}"),
            "status.phase: 'Gone' is none of",
        ),
        (NODE.replace("cpu: 4", "cpu: some"), "status.capacity[cpu]: 'some' is not a quantity"),
        (NODE.replace("cpu: 4", "cpu: -4"), "status.capacity[cpu]: must not be negative"),
        (NODE.replace("cpu: 4", "a b: 4"), "status.capacity[a b]: 'a b' is not a valid key"),
        (
            NODE_WITH % "{type: Ready, status: 'Yes'}",
            "status.conditions[0].status: 'Yes' is none of True, False",
        ),
        (NODE_WITH % "{status: 'True'}", "status.conditions[0].type: required"),
        (
            NODE_WITH % "{type: A, status: Unknown}, {type: A, status: Unknown}",
            "status.conditions[1].type: 'A' is",
        ),
        (EVENT.replace("Normal", "Odd"), "type: 'Odd' is none of Normal, Warning"),
        (EVENT.replace("type: Normal", "count: -1"), "count: must not be negative"),
        (
            EVENT.replace("web, namespace: default", "web, namespace: other"),
            "involvedObject.namespace: 'other'",
        ),
        (TOKEN.replace("0a", "0x"), "spec.secretSha256: expected 64 hexadecimal digits"),
        (TOKEN.replace(", expiresAt: 2024-05-01T10:00:00Z", ""), "spec.expiresAt: required"),
    ],
)
def test_the_other_kinds_have_rules_of_their_own(text, fault):
    (found,) = faults(complete(text))
    assert found.startswith(fault)


def updated(old: Any, change: Any) -> list[str]:
    new = copy.deepcopy(old)
    change(new)
    return [str(fault) for fault in validate_update(new, old)]


def stored_pod() -> Any:
    message = pod()
    message.metadata.uid, message.metadata.resource_version = "u1", "5"
    message.metadata.creation_timestamp.seconds = 100
    return message


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("name", "other", "metadata.name: cannot be changed (it is 'web-1')"),
        ("namespace", "other", "metadata.namespace: cannot be changed (it is 'default')"),
        ("uid", "u2", "metadata.uid: cannot be changed (it is 'u1')"),
    ],
)
def test_the_identity_of_an_object_cannot_be_changed(attribute, value, fault):
    assert updated(stored_pod(), lambda new: setattr(new.metadata, attribute, value)) == [fault]


def test_an_update_may_leave_out_what_the_system_filled_in():
    def forget(new):
        for field in ("uid", "creation_timestamp", "resource_version"):
            new.metadata.ClearField(field)

    assert updated(stored_pod(), forget) == []


def test_times_of_creation_and_deletion_are_not_the_users_to_set():
    def create_later(new):
        new.metadata.creation_timestamp.seconds = 200

    def delete(new):
        new.metadata.deletion_timestamp.seconds = 200

    assert updated(stored_pod(), create_later) == ["metadata.creationTimestamp: cannot be changed"]
    assert updated(stored_pod(), delete) == ["metadata.deletionTimestamp: is set by deleting the object"]
    dying = stored_pod()
    dying.metadata.deletion_timestamp.seconds = 150
    assert updated(dying, delete) == ["metadata.deletionTimestamp: cannot be changed"]
    assert updated(dying, lambda new: new.metadata.ClearField("deletion_timestamp")) == []


def test_an_object_being_deleted_takes_no_new_finalizers_but_loses_old_ones():
    dying = stored_pod()
    dying.metadata.deletion_timestamp.seconds = 150
    dying.metadata.finalizers.extend(["example.com/a"])
    assert updated(dying, lambda new: new.metadata.finalizers.append("example.com/b")) == [
        "metadata.finalizers: example.com/b cannot be added: the object is being deleted"
    ]
    assert updated(dying, lambda new: new.metadata.ClearField("finalizers")) == []


def test_labels_can_be_changed_but_not_into_wrong_ones():
    assert updated(stored_pod(), lambda new: new.metadata.labels.update({"a": "b"})) == []
    (fault,) = updated(stored_pod(), lambda new: new.metadata.labels.update({"a": "b c"}))
    assert fault.startswith("metadata.labels[a]: ")


def test_an_object_that_older_rules_let_in_can_still_report_its_status():
    old = stored_pod()
    old.spec.restart_policy = "Sometimes"

    def run(new):
        new.status.phase = "Running"

    def misreport(new):
        new.status.phase = "Jogging"

    assert updated(old, run) == []
    assert updated(old, misreport) == [
        "status.phase: 'Jogging' is none of Pending, Running, Succeeded, Failed, Unknown"
    ]
