from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import apps_pb2, core_pb2
from h9s.cli.manifests import with_written_zeros
from h9s.cli.merge import LAST_APPLIED
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {tier: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: web:1
        env:
        - {name: MODE, value: fast}
"""
WITHOUT_REPLICAS = WEB.replace("  replicas: 2\n", "")
POD = """
kind: Pod
metadata: {name: PODNAME}
spec: {containers: [{name: app, image: busybox}]}
"""


def _pod(name: str) -> str:
    return POD.replace("PODNAME", name)


def _deployment(cluster: FakeCluster, name: str = "web") -> Any:
    return cluster.stored(apps_pb2.Deployment, name)


def _edit(cluster: FakeCluster, **fields: Any) -> None:
    current = _deployment(cluster)
    for name, value in fields.items():
        setattr(current.spec, name, value)
    cluster.put(current)


def test_created_then_unchanged_then_configured(cluster: FakeCluster, howbectl: Howbectl) -> None:
    assert howbectl("apply -f -", stdin=WEB).stdout == "deployment.apps/web created\n"
    revision = cluster.objects.revision
    assert howbectl("apply -f -", stdin=WEB).stdout == "deployment.apps/web unchanged\n"
    assert cluster.objects.revision == revision
    assert (
        howbectl("apply -f -", stdin=WEB.replace("web:1", "web:2")).stdout
        == "deployment.apps/web configured\n"
    )
    assert _deployment(cluster).spec.template.spec.containers[0].image == "web:2"


def test_what_scale_has_set_outlives_a_manifest_without_replicas(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    howbectl("apply -f -", stdin=WITHOUT_REPLICAS)
    howbectl("scale deploy web --replicas=7")
    howbectl("apply -f -", stdin=WITHOUT_REPLICAS.replace("fast", "slow"))
    deployment = _deployment(cluster)
    assert deployment.spec.replicas == 7
    assert deployment.spec.template.spec.containers[0].env[0].value == "slow"


def test_what_has_left_the_manifest_leaves_the_object(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WEB)
    howbectl("label deploy web mine=1")
    howbectl(
        "apply -f -",
        stdin=WEB.replace("  labels: {tier: front}\n", "").replace("- {name: MODE, value: fast}", ""),
    )
    deployment = _deployment(cluster)
    assert dict(deployment.metadata.labels) == {"mine": "1"}
    assert not deployment.spec.template.spec.containers[0].env


def test_an_object_that_kubectl_applied_is_taken_over(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("create -f -", stdin=WEB)
    current = _deployment(cluster)
    written = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"tier": "front"}},
    }
    current.metadata.annotations[LAST_APPLIED] = json.dumps(written) + "\n"
    cluster.put(current)
    howbectl("apply -f -", stdin=WEB.replace("labels: {tier: front}", "labels: {team: a}"))
    assert dict(_deployment(cluster).metadata.labels) == {"team": "a"}


def test_several_documents_are_one_transaction(cluster: FakeCluster, howbectl: Howbectl) -> None:
    before = cluster.objects.revision
    result = howbectl("apply -f -", stdin=f"{WEB}---\n{_pod('a')}---\n{_pod('b')}")
    assert result.lines == ["deployment.apps/web created", "pod/a created", "pod/b created"]
    assert cluster.objects.revision == before + 1


def test_one_bad_document_stops_all_of_them(cluster: FakeCluster, howbectl: Howbectl) -> None:
    before = cluster.objects.revision
    result = howbectl("apply -f -", stdin=f"{_pod('a')}---\n{_pod('UPPER')}")
    assert result.exit_code == 1
    assert "'UPPER' is not a valid name" in result.stderr
    assert cluster.objects.revision == before


def test_a_namespace_and_what_lives_in_it_come_in_any_order(cluster: FakeCluster, howbectl: Howbectl) -> None:
    inside = _pod("a").replace("{name: a}", "{name: a, namespace: team}")
    result = howbectl("apply -f -", stdin=f"{inside}---\nkind: Namespace\nmetadata: {{name: team}}")
    assert result.lines == ["pod/a created", "namespace/team created"]
    (response,) = [
        response for response in cluster.objects.history if response.revision == cluster.objects.revision
    ]
    assert [event.object.value.type_url.rpartition(".")[2] for event in response.events] == [
        "Namespace",
        "Pod",
    ]


def test_folders_are_read_with_all_below_in_order(
    cluster: FakeCluster, howbectl: Howbectl, tmp_path: Path
) -> None:
    for path, name in (("m/b.yaml", "b"), ("m/a/z.yml", "az"), ("m/c.json", "c"), ("m/notes.txt", "no")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(_pod(name) if not path.endswith("txt") else "not: a manifest")
    assert howbectl("apply -R -f m").lines == ["pod/az created", "pod/b created", "pod/c created"]
    assert howbectl("apply -f m/b.yaml -f m/c.json").lines == ["pod/b unchanged", "pod/c unchanged"]


def test_a_change_made_meanwhile_is_merged_in(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WITHOUT_REPLICAS)
    cluster.before_commit = [lambda: _edit(cluster, replicas=5), lambda: _edit(cluster, min_ready_seconds=4)]
    assert howbectl("apply -f -", stdin=WITHOUT_REPLICAS.replace("web:1", "web:2")).exit_code == 0
    deployment = _deployment(cluster)
    assert (deployment.spec.replicas, deployment.spec.min_ready_seconds) == (5, 4)
    assert deployment.spec.template.spec.containers[0].image == "web:2"


def test_an_object_created_meanwhile_is_configured(cluster: FakeCluster, howbectl: Howbectl) -> None:
    other = core_pb2.Pod()
    other.metadata.name, other.metadata.namespace = "a", "default"
    other.metadata.labels["from"] = "elsewhere"
    other.spec.containers.add(name="app", image="busybox")
    cluster.before_commit = [lambda: cluster.put(other)]
    assert howbectl("apply -f -", stdin=_pod("a")).stdout == "pod/a configured\n"
    assert dict(cluster.stored(core_pb2.Pod, "a").metadata.labels) == {"from": "elsewhere"}


def test_an_object_deleted_meanwhile_is_created(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WEB)
    cluster.before_commit = [lambda: cluster.remove(_deployment(cluster))]
    assert (
        howbectl("apply -f -", stdin=WEB.replace("web:1", "web:2")).stdout == "deployment.apps/web created\n"
    )


def test_a_stale_resource_version_is_a_conflict(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WEB)
    manifest = howbectl("get deploy web -o yaml").stdout
    howbectl("scale deploy web --replicas=4")
    result = howbectl("apply -f -", stdin=manifest)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error from server (Conflict): ")
    assert _deployment(cluster).spec.replicas == 4


def test_what_get_prints_can_be_edited_and_applied(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WEB)
    manifest = howbectl("get deploy web -o yaml").stdout
    assert howbectl("apply -f -", stdin=manifest.replace("web:1", "web:2")).stdout.endswith("configured\n")
    applied = json.loads(_deployment(cluster).metadata.annotations[LAST_APPLIED])
    assert "uid" not in applied["metadata"]
    assert "resourceVersion" not in applied["metadata"]


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_changes_nothing(cluster: FakeCluster, howbectl: Howbectl, mode: str) -> None:
    before = cluster.objects.revision
    result = howbectl(f"apply -f - --dry-run={mode}", stdin=WEB)
    remark = {"client": "(dry run)", "server": "(server dry run)"}[mode]
    assert result.stdout == f"deployment.apps/web created {remark}\n"
    assert cluster.objects.revision == before


def test_a_name_to_be_generated_cannot_be_applied(howbectl: Howbectl) -> None:
    result = howbectl("apply -f -", stdin=_pod("x").replace("name: x", "generateName: x-"))
    assert result.exit_code == 1
    assert 'Pod "x-*": apply needs metadata.name' in result.stderr


def test_the_objects_can_be_printed(howbectl: Howbectl) -> None:
    assert howbectl("apply -f - -o name", stdin=WEB).stdout == "deployment.apps/web\n"
    assert "replicas: 2" in howbectl("apply -f - -o yaml", stdin=WEB).stdout


def test_what_is_written_as_nothing_is_said_too(cluster: FakeCluster, howbectl: Howbectl) -> None:
    resumed = WEB.replace("spec:\n  replicas", "spec:\n  paused: false\n  replicas", 1)
    howbectl("apply -f -", stdin=resumed)
    howbectl("rollout pause deploy/web")
    assert howbectl("apply -f -", stdin=WEB.replace("web:1", "web:2")).exit_code == 0
    assert not _deployment(cluster).spec.paused
    howbectl("rollout pause deploy/web")
    howbectl("apply -f -", stdin=WEB.replace("web:1", "web:3"))
    assert _deployment(cluster).spec.paused
    assert howbectl("apply -f -", stdin=resumed).stdout.endswith("configured\n")
    assert not _deployment(cluster).spec.paused


def test_lists_of_objects_are_read_as_documents_are(cluster: FakeCluster, howbectl: Howbectl) -> None:
    items = "".join(f"\n- {json.dumps(yaml.safe_load(_pod(name)))}" for name in ("a", "b"))
    result = howbectl("apply -f -", stdin=f"kind: List\nitems:{items}\n---\n---\n{_pod('c')}")
    assert result.lines == ["pod/a created", "pod/b created", "pod/c created"]


@given(
    st.recursive(
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 2), max_size=3),
        lambda inner: st.dictionaries(
            st.sampled_from("abcd"), st.one_of(inner, st.lists(inner, max_size=2)), max_size=3
        ),
    ),
    st.sampled_from([0, False, "", [], {}]),
)
def test_zeros_are_completed_and_nothing_else(known: dict[str, Any], zero: Any) -> None:
    assert with_written_zeros(known, known) == known
    assert with_written_zeros(known, {**known, "zero": zero, "null": None}) == {**known, "zero": zero}
