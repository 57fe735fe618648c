"""Whoever writes a wrong manifest is told which line, which field, and what to write instead."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.api.codec import from_dict, load_manifests, to_dict
from h9s.errors import FieldFault, InvalidError
from tests.unit.api.manifests import DEPLOYMENT, deployment, pod


def message_of(text: str, source: str = "web.yaml") -> str:
    with pytest.raises(InvalidError) as failure:
        load_manifests(text, source=source)
    return failure.value.message


def faults_of(text: str) -> tuple[FieldFault, ...]:
    """Of a text that may well be right; any other failure than InvalidError is a bug."""
    try:
        load_manifests(text)
    except InvalidError as error:
        return error.faults
    return ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\nmetadata: [\n", "web.yaml:3: malformed YAML: did not find expected node content"),
        (
            "kind: Pod\nmetadata:\n\tname: a\n",
            "web.yaml:3: malformed YAML: found character that cannot start any token",
        ),
        (
            "kind: Pod\n  metadata: a\n",
            "web.yaml:2: malformed YAML: mapping values are not allowed in this context",
        ),
        ("kind: Pod\nkind: Pod\n", "web.yaml:2: malformed YAML: duplicate key 'kind'"),
        (
            "kind: Pod\nmetadata:\n  labels: {a: b,\n    a: c}\n",
            "web.yaml:4: malformed YAML: duplicate key 'a'",
        ),
        (
            '{"kind": "Pod", "metadata": {"name": "a",\n "name": "b"}}',
            "web.yaml:2: malformed YAML: duplicate key 'name'",
        ),
        ("kind: Pod\nmetadata: *there\n", "web.yaml:2: malformed YAML: found undefined alias"),
        ("kind: Pod\n? [a]\n: b\n", "web.yaml:2: malformed YAML: a key must be a string"),
        ("kind: !x Pod\n", "web.yaml:1: malformed YAML: 'Pod' cannot be read as !x"),
        ("kind: !!int Pod\n", "web.yaml:1: malformed YAML: 'Pod' cannot be read as tag:yaml.org,2002:int"),
        (
            "kind: !!binary UG9k\n",
            "web.yaml:1: malformed YAML: 'UG9k' cannot be read as tag:yaml.org,2002:binary",
        ),
        ("[" * 100_000, "web.yaml:1: malformed YAML: nested too deeply"),
        (
            "a:\n" + "".join(" " * n + "-\n" for n in range(1, 200)),
            "web.yaml:101: malformed YAML: nested too deeply",
        ),
        (
            "kind: Pod\nspec: &a\n  containers: [*a]\n",
            "web.yaml:2: malformed YAML: an alias of what it stands in",
        ),
        ("kind: Pod\n---\nkind: Pod\nmetadata: }\n", "web.yaml:4: malformed YAML"),
        ("kind: a\x00b", "malformed YAML"),
        ("kind: a\udcff", "web.yaml: not UTF-8 text"),
    ],
)
def test_malformed_yaml_is_named_with_its_line(text, message):
    assert message in message_of(text)


def test_tabs_are_explained():
    assert message_of("kind: Pod\nmetadata:\n\tname: a\n").endswith(
        "(YAML is indented with spaces, not with tabs)"
    )


@pytest.mark.parametrize(("source", "prefix"), [("", "line 2: "), ("web.yaml", "web.yaml:2: ")])
def test_the_source_is_named_where_it_is_known(source, prefix):
    assert (
        message_of("kind: Pod\nmetdata: {}\n", source)
        == prefix + "metdata: unknown field, did you mean 'metadata'?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- kind: Pod", "expected an object with a 'kind'"),
        ("Pod", "expected an object with a 'kind'"),
        ("metadata: {name: a}", "kind: required"),
        ("kind: 3", "kind: required"),
        ("kind: deployment", "kind: unknown kind 'deployment', did you mean 'Deployment'?"),
        ("kind: Deploymnet", "did you mean 'Deployment'?"),
        ("kind: Gateway", "kind: unknown kind 'Gateway'; there are Namespace, Node, Pod"),
        (
            "apiVersion: extensions/v1beta1\nkind: Deployment",
            "web.yaml:1: apiVersion: 'extensions/v1beta1' has no kind Deployment: write 'apps/v1'",
        ),
        ("apiVersion: apps/v1\nkind: Pod", "apiVersion: 'apps/v1' has no kind Pod: write 'v1'"),
        ("apiVersion: 1\nkind: Pod", "apiVersion: 1 has no kind Pod: write 'v1'"),
        ("kind: List\nitems: {}", "web.yaml:2: items: expected a list"),
        ("kind: List\nitem: []", "web.yaml:2: item: unknown field, did you mean 'items'?"),
        (
            "kind: List\nitems:\n- kind: Pod\n  spc: {}",
            "web.yaml:4: items[0].spc: unknown field, did you mean 'spec'?",
        ),
        ("kind: List\nitems: [a]", "web.yaml:2: items[0]: expected an object with a 'kind'"),
    ],
)
def test_a_document_of_no_known_kind_is_refused(text, message):
    assert message in message_of(text)


CONTAINER = "kind: Pod\nspec:\n  containers:\n  - "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONTAINER + "nmae: a", "web.yaml:4: spec.containers[0].nmae: unknown field, did you mean 'name'?"),
        (CONTAINER + "livenessProbe: {}", "spec.containers[0].livenessProbe: unknown field"),
        (CONTAINER + "Image: a", "spec.containers[0].Image: unknown field, did you mean 'image'?"),
        (CONTAINER + "image_pull_policy: a", "unknown field, did you mean 'imagePullPolicy'?"),
        (
            CONTAINER + "env: [{name: A, value: 1}]",
            "env[0].value: expected a string, got the number 1 (quote it)",
        ),
        (CONTAINER + "env: [{name: A, value: yes}]", "expected a string, got the boolean yes (quote it)"),
        (CONTAINER + "env: [{name: A, value: 1.10}]", "expected a string, got the number 1.10 (quote it)"),
        (CONTAINER + "args: [sleep, 3600]", "args[1]: expected a string, got the number 3600 (quote it)"),
        (CONTAINER + "args: [~]", "args[0]: expected a string, got null"),
        (CONTAINER + "command: sleep", "command: expected a list, got the string 'sleep'"),
        (CONTAINER + "stdin: 'true'", "expected true or false, got the string 'true' (remove the quotes)"),
        (
            CONTAINER + "ports: [{containerPort: '80'}]",
            "expected an integer, got the string '80' (remove the quotes)",
        ),
        (CONTAINER + "ports: [{containerPort: 80.5}]", "expected an integer, got the number 80.5"),
        (CONTAINER + "ports: [{containerPort: .inf}]", "expected an integer, got the number .inf"),
        (CONTAINER + "ports: [{containerPort: .nan}]", "expected an integer, got the number .nan"),
        (
            CONTAINER + "ports: [{containerPort: 3000000000}]",
            "containerPort: the number 3000000000 is out of range",
        ),
        (CONTAINER + "ports: [80]", "ports[0]: expected an object, got the number 80"),
        (CONTAINER + "ports: {containerPort: 80}", "ports: expected a list, got an object"),
        (
            CONTAINER + "resources: {limits: {cpu: true}}",
            "limits[cpu]: expected a string, got the boolean true (quote it)",
        ),
        (CONTAINER + "resources: {limits: {cpu: 1e30}}", "limits[cpu]: quantity '1e+30' is out of range"),
        (CONTAINER + "resources: {limits: [cpu]}", "limits: expected an object, got a list"),
        (
            "kind: Pod\nmetadata: {labels: {v: 1.0}}",
            "metadata.labels[v]: expected a string, got the number 1.0 (quote it)",
        ),
        (
            f"kind: Deployment\nspec: {{replicas: {'9' * 5000}}}",
            "spec.replicas: expected an integer, got the number 999",
        ),
        ("kind: Pod\nmetadata: a", "metadata: expected an object, got the string 'a'"),
        (
            "kind: Pod\nmetadata: {creationTimestamp: 2024}",
            "expected a time such as '2024-05-01T10:00:00Z', got the number 2024",
        ),
        ("kind: Pod\nmetadata: {creationTimestamp: today}", "expected a time such as"),
        (
            "kind: Deployment\nspec: {replicas: three}",
            "spec.replicas: expected an integer, got the string 'three'",
        ),
        ("kind: Deployment\nspec: {paused: 1}", "spec.paused: expected true or false, got the number 1"),
        (
            "kind: Deployment\nspec: {strategy: {rollingUpdate: {maxSurge: 1.5}}}",
            "maxSurge: expected an integer or a string, got the number 1.5",
        ),
        (
            "kind: Deployment\nspec: {strategy: {rollingUpdate: {maxSurge: [1]}}}",
            "maxSurge: expected an integer or a string, got a list",
        ),
        ('{"kind": "Pod", "metadata": {"name": "\\ud800"}}', "metadata.name: not Unicode text"),
    ],
)
def test_a_wrong_field_is_named_with_its_path_and_what_was_expected(text, message):
    assert message in message_of(text)


def test_all_faults_are_found_in_one_go_each_with_its_line():
    text = "kind: Pod\nspec:\n  hostname: 3\n  container: []\n---\nkind: Nope\n"
    assert message_of(text).splitlines() == [
        "web.yaml:3: spec.hostname: expected a string, got the number 3 (quote it)",
        "web.yaml:4: spec.container: unknown field, did you mean 'containers'?",
        "web.yaml:6: kind: unknown kind 'Nope', did you mean 'Node'?",
    ]


def test_the_faults_are_there_for_programs_too():
    with pytest.raises(InvalidError) as failure:
        from_dict({"kind": "Deployment", "spec": {"template": {"spec": {"contaniers": []}}}})
    (fault,) = failure.value.faults
    assert str(fault) == "spec.template.spec.contaniers: unknown field, did you mean 'containers'?"


def test_one_object_is_not_a_list():
    with pytest.raises(InvalidError, match="expected one object, got a List"):
        from_dict({"kind": "List", "items": []})


FREE_KEYS = {"labels", "annotations", "matchLabels", "nodeSelector", "limits", "requests"}


def fixed_objects(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON object in a manifest whose keys the contract fixes, with its path."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            if key not in FREE_KEYS:
                yield from fixed_objects(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from fixed_objects(item, f"{path}[{index}]")


MANIFESTS = [to_dict(pod()), to_dict(deployment())]


@given(st.sampled_from(MANIFESTS), st.data())
def test_an_unknown_field_is_found_at_its_path_wherever_it_is(manifest, data):
    manifest = copy.deepcopy(manifest)
    path, place = data.draw(st.sampled_from(list(fixed_objects(manifest))))
    place["qqqq"] = data.draw(st.none() | st.integers() | st.just({}))
    with pytest.raises(InvalidError) as failure:
        load_manifests(json.dumps(manifest, indent=1))
    (fault,) = failure.value.faults
    assert str(fault) == f"{path}.qqqq: unknown field".lstrip(".")


@given(st.sampled_from(MANIFESTS), st.data())
def test_a_swapped_letter_is_answered_with_the_field_that_was_meant(manifest, data):
    manifest = copy.deepcopy(manifest)
    places = [(path, place) for path, place in fixed_objects(manifest) if path]
    path, place = data.draw(st.sampled_from(places))
    long_keys = [key for key in place if len(key) >= 5]
    if not long_keys:
        return
    meant = data.draw(st.sampled_from(long_keys))
    typo = meant[:2] + meant[3] + meant[2] + meant[4:]
    if typo in place or typo == meant:
        return
    place[typo] = place.pop(meant)
    with pytest.raises(InvalidError) as failure:
        from_dict(manifest)
    assert f"{path}.{typo}: unknown field, did you mean {meant!r}?" in failure.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["spec", "name", "a"]), inner)
    ),
    max_leaves=5,
)


@given(st.sampled_from(MANIFESTS), json_values, st.data())
def test_any_value_in_any_place_is_read_or_refused_with_a_path(manifest, value, data):
    manifest = copy.deepcopy(manifest)
    _, place = data.draw(st.sampled_from(list(fixed_objects(manifest))))
    place[data.draw(st.sampled_from(list(place)))] = value
    assert all(fault.path for fault in faults_of(json.dumps(manifest)))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    faults_of(text)


@given(st.text(st.sampled_from("ab: -[]{}\"'\n\t#&*!|>%,?<0x_.1e"), max_size=40))
def test_any_text_of_yaml_signs_is_read_or_refused(text):
    faults_of(text)
    faults_of(DEPLOYMENT + text)
