from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from h9s._pb import api_pb2, core_pb2
from h9s.client import transport as methods
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster
from tests.unit.cli.objects import deployment, pod


class _Recorder:
    """Keeps the operations of every Commit, which otherwise goes on as usual."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.operations: list[api_pb2.Operation] = []
        inner = cluster.commit

        def commit(server: str, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
            self.operations.extend(request.operations)
            return inner(server, request)

        cluster.commit = commit  # type: ignore[method-assign]


@pytest.fixture
def sent(cluster: FakeCluster) -> _Recorder:
    return _Recorder(cluster)


def test_by_name_and_kind(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.put(pod("b"))
    cluster.put(deployment("a"))
    result = howbectl("delete pod/a deploy/a pod/b")
    assert result.lines == ['pod "a" deleted', 'deployment.apps "a" deleted', 'pod "b" deleted']
    assert cluster.stored(core_pb2.Pod, "a") is None


def test_one_missing_name_keeps_all(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    result = howbectl("delete pods a x y")
    assert result.exit_code == 1
    assert result.stderr == 'Error from server (NotFound): pods "x" not found; pods "y" not found\n'
    assert cluster.stored(core_pb2.Pod, "a") is not None
    assert howbectl("delete pods a x --ignore-not-found").lines == ['pod "a" deleted']


def test_by_selector_and_all(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "y")):
        cluster.put(pod(name, labels={"app": app}))
    assert howbectl("delete pods -l app=x").lines == ['pod "a" deleted']
    assert howbectl("delete pods --all").lines == ['pod "b" deleted', 'pod "c" deleted']
    again = howbectl("delete pods --all")
    assert (again.exit_code, again.stderr) == (0, "No resources found\n")


def test_by_manifest(cluster: FakeCluster, howbectl: Howbectl, tmp_path: Path) -> None:
    cluster.put(pod("a"))
    (tmp_path / "a.yaml").write_text(
        "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: x}]}"
    )
    assert howbectl("delete -f a.yaml").lines == ['pod "a" deleted']
    assert howbectl("delete -f a.yaml").exit_code == 1
    assert howbectl("delete -f a.yaml --ignore-not-found").exit_code == 0


def test_it_waits_until_the_object_is_gone(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.deletes_at_once = False
    gone: list[bool] = []

    def finish() -> None:
        cluster.remove(cluster.stored(core_pb2.Pod, "a"))
        gone.append(True)

    cluster.while_watched(lambda: cluster.put(pod("b")), finish)
    assert howbectl("delete pod a").exit_code == 0
    assert gone


def test_it_does_not_wait_when_told_so(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.deletes_at_once = False
    assert howbectl("delete pod a --wait=false").exit_code == 0
    assert not [name for _, name in cluster.requests if name == methods.WATCH.name]


def test_waiting_has_an_end(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.deletes_at_once = False
    result = howbectl("delete pod a --timeout=20ms")
    assert result.exit_code == 1
    assert result.stderr == "error: timed out waiting for the deletion of pod/a\n"


def test_a_successor_of_the_same_name_is_not_waited_for(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.deletes_at_once = False

    def replace() -> None:
        cluster.remove(cluster.stored(core_pb2.Pod, "a"))
        successor = pod("a")
        successor.metadata.uid = "another"
        cluster.put(successor)

    cluster.while_watched(replace)
    assert howbectl("delete pod a").exit_code == 0


def test_a_successor_of_the_same_name_is_not_deleted_unseen(
    cluster: FakeCluster, howbectl: Howbectl, sent: _Recorder
) -> None:
    cluster.put(pod("a"))

    def replace() -> None:
        cluster.remove(cluster.stored(core_pb2.Pod, "a"))
        successor = pod("a")
        successor.metadata.uid = "another"
        cluster.put(successor)

    cluster.before_commit = [replace]
    assert howbectl("delete pod a").exit_code == 0
    assert [operation.preconditions.uid for operation in sent.operations] == ["uid-default-a", "another"]


@pytest.mark.parametrize(
    ("options", "grace", "policy"),
    [
        ("", None, "Background"),
        ("--grace-period=7", 7, "Background"),
        ("--grace-period=0", 1, "Background"),
        ("--now", 1, "Background"),
        ("--force", 0, "Background"),
        ("--force --grace-period=0", 0, "Background"),
        ("--cascade=orphan", None, "Orphan"),
        ("--cascade=foreground", None, "Foreground"),
    ],
)
def test_options_say_how(
    cluster: FakeCluster, howbectl: Howbectl, sent: _Recorder, options: str, grace: Any, policy: str
) -> None:
    cluster.put(pod("a"))
    assert howbectl(f"delete pod a {options}").exit_code == 0
    (operation,) = sent.operations
    assert (operation.grace_period_seconds if operation.HasField("grace_period_seconds") else None) == grace
    assert operation.propagation_policy == policy


def test_force_warns(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    result = howbectl("delete pod a --force")
    assert result.stdout == 'pod "a" force deleted\n'
    assert result.stderr.startswith("Warning: ")


def test_a_dry_run_deletes_nothing(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    assert howbectl("delete pod a --dry-run=server").stdout == 'pod "a" deleted (server dry run)\n'
    assert cluster.stored(core_pb2.Pod, "a") is not None
