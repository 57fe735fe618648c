"""scale, label, annotate, cordon: read, change, write; again where another was faster."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import apps_pb2, core_pb2
from h9s.cli.metadata import is_change, parse_changes
from h9s.errors import UsageError
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster
from tests.unit.cli.objects import deployment, node, pod


def _edit(cluster: FakeCluster, cls: type[Any], name: str, **labels: str) -> None:
    current = cluster.stored(cls, name, "default")
    current.metadata.labels.update(labels)
    cluster.put(current)


@pytest.mark.parametrize("target", ["deploy web", "deploy/web", "deployments.apps web"])
def test_scale(cluster: FakeCluster, howbectl: Howbectl, target: str) -> None:
    cluster.put(deployment("web"))
    assert howbectl(f"scale {target} --replicas 5").stdout == "deployment.apps/web scaled\n"
    assert cluster.stored(apps_pb2.Deployment, "web").spec.replicas == 5


def test_scaling_to_zero_and_to_what_it_is(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web"))
    assert howbectl("scale deploy/web --replicas=0").exit_code == 0
    revision = cluster.objects.revision
    assert howbectl("scale deploy/web --replicas=0").stdout == "deployment.apps/web scaled\n"
    assert cluster.objects.revision == revision


def test_scaling_loses_no_change_made_meanwhile(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web"))
    cluster.before_commit = [partial(_edit, cluster, apps_pb2.Deployment, "web", n=str(i)) for i in range(4)]
    assert howbectl("scale deploy/web --replicas=5").exit_code == 0
    stored = cluster.stored(apps_pb2.Deployment, "web")
    assert (stored.spec.replicas, dict(stored.metadata.labels)) == (5, {"n": "3"})


def test_scaling_only_from_a_known_number(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web", replicas=3))
    result = howbectl("scale deploy/web --replicas=5 --current-replicas=2")
    assert result.exit_code == 1
    assert result.stderr == "error: web has 3 replicas, not the 2 expected\n"
    assert howbectl("scale deploy/web --replicas=5 --current-replicas=3").exit_code == 0


def test_of_several_none_is_scaled_if_one_is_missing(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web"))
    assert howbectl("scale deploy web nope --replicas=9").exit_code == 1
    assert cluster.stored(apps_pb2.Deployment, "web").spec.replicas == 3


def test_labels_are_set_and_removed(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a", labels={"old": "1"}))
    assert howbectl("label pod a new=2 old-").stdout == "pod/a labeled\n"
    assert dict(cluster.stored(core_pb2.Pod, "a").metadata.labels) == {"new": "2"}
    assert howbectl("label pod a new=2").stdout == "pod/a not labeled\n"
    assert howbectl("label pod/a new-").stdout == "pod/a unlabeled\n"


def test_a_value_is_replaced_only_when_told_so(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.put(pod("b", labels={"app": "x"}))
    result = howbectl("label pods --all app=y")
    assert result.exit_code == 1
    assert result.stderr == "error: Pod \"b\": 'app' already has the value 'x'; --overwrite replaces it\n"
    assert not cluster.stored(core_pb2.Pod, "a").metadata.labels
    assert howbectl("label pods --all app=y --overwrite").lines == ["pod/a labeled", "pod/b labeled"]


def test_annotations(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    assert howbectl("annotate po/a 'note=two words = fine'").stdout == "pod/a annotated\n"
    assert dict(cluster.stored(core_pb2.Pod, "a").metadata.annotations) == {"note": "two words = fine"}


def test_a_label_that_is_none_is_refused(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    result = howbectl("label pod a 'app=not valid!'")
    assert result.exit_code == 1
    assert "is not a valid label value" in result.stderr


def test_cordoning(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(node("n1"))
    cluster.put(node("n2"))
    assert howbectl("cordon n1 node/n2").lines == ["node/n1 cordoned", "node/n2 cordoned"]
    assert cluster.stored(core_pb2.Node, "n1").spec.unschedulable
    assert howbectl("cordon n1").lines == ["node/n1 already cordoned"]
    assert howbectl("uncordon n1").lines == ["node/n1 uncordoned"]
    assert not cluster.stored(core_pb2.Node, "n1").spec.unschedulable


@given(
    st.dictionaries(st.text("abc./", min_size=1), st.text("ab=-", max_size=4)),
    st.sets(st.text("xyz", min_size=1)),
)
def test_changes_are_read_as_written(wanted: dict[str, str], removed: set[str]) -> None:
    texts = [f"{key}={value}" for key, value in wanted.items()] + [f"{key}-" for key in removed]
    assert all(map(is_change, texts))
    changes = parse_changes(texts)
    assert (changes.wanted, set(changes.removed)) == (wanted, removed)


@pytest.mark.parametrize("texts", [["a=1", "a=2"], ["a=1", "a-"], ["=1"], ["-"], ["a"]])
def test_changes_that_contradict_or_are_none(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_changes(texts)
