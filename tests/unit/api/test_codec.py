"""Manifests become objects and objects manifests, without loss."""

import json
from unittest import mock

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from h9s._pb import core_pb2
from h9s.api import yaml_text
from h9s.api.codec import from_dict, load_manifests, to_dict, to_json, to_yaml
from h9s.api.kinds import ApiObject, kind_of
from h9s.errors import InvalidError
from tests.unit.api.manifests import DEPLOYMENT, POD, deployment, load, pod
from tests.unit.api.messages import any_objects

settings.register_profile(
    "codec", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(any_objects)
@settings(settings.get_profile("codec"))
def test_every_object_survives_yaml_json_and_dict(message):
    assert load_manifests(to_yaml(message)) == [message]
    assert load_manifests(to_json(message)) == [message]
    assert from_dict(to_dict(message)) == message


@given(any_objects)
@settings(settings.get_profile("codec"))
def test_what_is_written_is_read_alike_by_other_yaml_readers(message):
    assert yaml.safe_load(to_yaml(message)) == to_dict(message)


class PythonLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = yaml_text._Loader.yaml_implicit_resolvers


@given(any_objects)
@settings(settings.get_profile("codec"))
def test_the_parser_in_python_reads_what_the_one_in_c_reads(message):
    text = to_yaml(message)
    with mock.patch.object(yaml_text, "_Loader", PythonLoader):
        assert load_manifests(text) == [message]


def test_several_documents_and_lists_are_read_in_order():
    text = f"""
# only a comment
---
{POD}
---
---
apiVersion: v1
kind: List
items:
- {{kind: Namespace, metadata: {{name: a}}}}
- kind: List
  items: [{{kind: Namespace, metadata: {{name: b}}}}]
---
kind: List
items:
...
---
{DEPLOYMENT}
"""
    found = [(kind_of(message).kind, message.metadata.name) for message in load_manifests(text)]
    assert found == [("Pod", "web-1"), ("Namespace", "a"), ("Namespace", "b"), ("Deployment", "web")]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n---\n", "~", "---\nnull\n...\n"])
def test_a_text_without_objects_holds_none(text):
    assert load_manifests(text) == []


def test_a_list_is_written_for_several_objects_and_read_again():
    both: list[ApiObject] = [pod(), deployment()]
    assert json.loads(to_json(both))["kind"] == "List"
    assert load_manifests(to_yaml(both)) == both
    assert load_manifests(to_json(both)) == both


def test_flow_style_with_trailing_commas_is_read():
    message = load(
        """
{
  apiVersion: "apps/v1", kind: "Deployment",
  metadata: { name: "web", },
  spec: { selector: { matchLabels: { app: "web", }, }, minReadySeconds: 5,
          template: { spec: { containers: [{ name: "web", ports: [{ containerPort: 80, }], }], }, }, },
}
"""
    )
    assert message.spec.min_ready_seconds == 5
    assert message.spec.template.spec.containers[0].ports[0].container_port == 80


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_with_its_tabs_and_surrogate_pairs(indent):
    value = {"kind": "Pod", "metadata": {"name": "a", "annotations": {"b": "\U0001f600/\u00e9"}}}
    message = load(json.dumps(value, indent=indent).replace("/", "\\/"))
    assert message.metadata.annotations["b"] == "\U0001f600/\u00e9"


def test_anchors_aliases_and_merge_keys_work():
    message = load(
        """
kind: Pod
metadata:
  labels: &labels {app: web, tier: front}
spec:
  nodeSelector:
    <<: *labels
    tier: back
  containers:
  - &first {name: a, image: x}
  - {<<: *first, name: b}
"""
    )
    assert dict(message.spec.node_selector) == {"app": "web", "tier": "back"}
    assert [(c.name, c.image) for c in message.spec.containers] == [("a", "x"), ("b", "x")]


def test_a_nested_alias_is_built_once_and_not_once_per_use():
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    with pytest.raises(InvalidError, match="kind: required"):
        load_manifests("\n".join(lines))


def test_nothing_that_looks_like_a_date_or_a_time_of_day_becomes_one():
    message = load(
        """
kind: Pod
metadata:
  creationTimestamp: 2024-05-01T10:00:00Z
  annotations: {date: 2024-05-01, time: 12:30, long: 12:30:45.5, when: 2024-05-01T10:00:00Z}
"""
    )
    assert message.metadata.creation_timestamp.ToJsonString() == "2024-05-01T10:00:00Z"
    assert dict(message.metadata.annotations) == {
        "date": "2024-05-01",
        "time": "12:30",
        "long": "12:30:45.5",
        "when": "2024-05-01T10:00:00Z",
    }


def test_times_are_read_with_any_offset_and_written_in_utc():
    message = load("{kind: Pod, metadata: {creationTimestamp: '2024-05-01T12:00:00.5+02:00'}}")
    assert to_dict(message)["metadata"]["creationTimestamp"] == "2024-05-01T10:00:00.500Z"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2", "2"),
        ("0.5", "500m"),
        ("0.1", "100m"),
        ("1.5", "1500m"),
        ("'2'", "2"),
        ("500m", "500m"),
        ("1e3", "1k"),
    ],
)
def test_a_quantity_may_be_a_number(written, read):
    message = load(f"{{kind: Pod, spec: {{containers: [{{resources: {{limits: {{cpu: {written}}}}}}}]}}}}")
    assert message.spec.containers[0].resources.limits["cpu"] == read


@pytest.mark.parametrize(("written", "plain"), [("1", 1), ("0", 0), ("25%", "25%"), ("'1'", "1")])
def test_an_int_or_string_is_bare_in_both_directions(written, plain):
    message = load(f"kind: Deployment\nspec: {{strategy: {{rollingUpdate: {{maxSurge: {written}}}}}}}")
    assert to_dict(message)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": plain}


def test_integers_of_64_bits_are_numbers_in_both_directions():
    message = load("{kind: Pod, metadata: {generation: 9007199254740993, deletionGracePeriodSeconds: 30.0}}")
    assert '"generation": 9007199254740993' in to_json(message)
    assert message.metadata.deletion_grace_period_seconds == 30


def test_null_means_absent():
    message = load(
        "{apiVersion: null, kind: Pod, metadata: {name: ~, labels: , creationTimestamp: null},"
        " spec: {containers: null, nodeSelector: {a: null}}, status: null}"
    )
    assert message == core_pb2.Pod(metadata=message.metadata, spec=message.spec)
    assert not message.metadata.ByteSize()
    assert not message.spec.ByteSize()


def test_a_message_that_is_there_but_empty_stays_there():
    message = load("{kind: Pod, status: {}, spec: {containers: [{resources: {}}]}}")
    assert message.HasField("status")
    assert message.spec.containers[0].HasField("resources")
    assert to_dict(message)["status"] == {}


def test_a_manifest_begins_with_its_type_and_keeps_kubernetes_names():
    message = pod()
    message.status.pod_ip = "10.0.0.1"
    written = to_dict(message)
    assert list(written) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert written["status"]["podIP"] == "10.0.0.1"
    assert to_yaml(message).startswith("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-1\n")


def test_what_scripts_rely_on_is_written_even_if_it_is_zero():
    message = core_pb2.Pod()
    status = message.status.container_statuses.add(name="web")
    status.last_state.terminated.SetInParent()
    (written,) = to_dict(message)["status"]["containerStatuses"]
    assert written["restartCount"] == 0
    assert written["ready"] is False
    assert written["lastState"] == {"terminated": {"exitCode": 0}}


def test_a_script_is_written_as_a_block():
    message = load('{kind: Pod, spec: {containers: [{args: ["set -e\\necho hello\\n"]}]}}')
    assert "    - |\n      set -e\n      echo hello\n" in to_yaml(message)


def test_keys_are_what_they_show():
    message = load("{kind: Pod, metadata: {labels: {on: a, 80: b, null: c, 1.10: d}}}")
    assert dict(message.metadata.labels) == {"on": "a", "80": "b", "null": "c", "1.10": "d"}


@pytest.mark.parametrize(
    "text", ["\ufeffkind: Pod", "kind: Pod\r\nmetadata:\r\n  name: a\r\n", "%YAML 1.1\n---\nkind: Pod"]
)
def test_byte_order_marks_line_ends_and_directives_do_not_matter(text):
    assert isinstance(load(text), core_pb2.Pod)
