from __future__ import annotations

import pytest

from h9s._pb import apps_pb2, core_pb2
from h9s.cli.commands.create import container_name
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster

TWO_PODS = """
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, image: x}]}
---
kind: Pod
metadata: {generateName: b-}
spec: {containers: [{name: c, image: x}]}
"""


def test_all_documents_are_created_at_one_revision(cluster: FakeCluster, howbectl: Howbectl) -> None:
    before = cluster.objects.revision
    result = howbectl("create -f -", stdin=TWO_PODS)
    assert result.lines[0] == "pod/a created"
    assert result.lines[1].startswith("pod/b-")
    assert cluster.objects.revision == before + 1


def test_one_that_exists_keeps_all_from_being_created(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("run b --image=x")
    before = cluster.objects.revision
    result = howbectl("create -f -", stdin=TWO_PODS.replace("generateName: b-", "name: b"))
    assert result.exit_code == 1
    assert "(AlreadyExists)" in result.stderr
    assert cluster.objects.revision == before


def test_run_makes_a_pod_as_kubectl_does(cluster: FakeCluster, howbectl: Howbectl) -> None:
    result = howbectl("run web --image=nginx:1 --port=80 --env=A=1 --env=B=x=y --restart=Never -- -v --all")
    assert result.stdout == "pod/web created\n"
    pod = cluster.stored(core_pb2.Pod, "web")
    (container,) = pod.spec.containers
    assert dict(pod.metadata.labels) == {"run": "web"}
    assert (container.name, container.image, pod.spec.restart_policy) == ("web", "nginx:1", "Never")
    assert container.ports[0].container_port == 80
    assert [(variable.name, variable.value) for variable in container.env] == [("A", "1"), ("B", "x=y")]
    assert list(container.args) == ["-v", "--all"]
    assert not container.command


def test_run_with_a_command_and_labels_of_its_own(cluster: FakeCluster, howbectl: Howbectl) -> None:
    howbectl("run web -n default --image=busybox -l app=x,tier=y --command -- sh -c 'echo $HOME'")
    pod = cluster.stored(core_pb2.Pod, "web")
    assert dict(pod.metadata.labels) == {"app": "x", "tier": "y"}
    assert list(pod.spec.containers[0].command) == ["sh", "-c", "echo $HOME"]


def test_a_dry_run_prints_a_manifest_that_apply_takes(cluster: FakeCluster, howbectl: Howbectl) -> None:
    before = cluster.objects.revision
    manifest = howbectl(
        "create deployment web --image=registry/team/nginx:1 -r 3 --port 80 --dry-run=client -o yaml"
    )
    assert cluster.objects.revision == before
    assert howbectl("apply -f -", stdin=manifest.stdout).stdout == "deployment.apps/web created\n"
    deployment = cluster.stored(apps_pb2.Deployment, "web")
    assert deployment.spec.replicas == 3
    assert deployment.spec.template.spec.containers[0].name == "nginx"


def test_namespaces_are_created_by_name(howbectl: Howbectl) -> None:
    assert howbectl("create namespace team").stdout == "namespace/team created\n"
    assert howbectl("create ns crew -o name").stdout == "namespace/crew\n"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("nginx:1.2", "nginx"),
        ("h:5000/a/My_App.x@sha256:00", "my-app-x"),
        ("h:5000/a", "a"),
    ],
)
def test_a_container_is_named_after_its_image(image: str, name: str) -> None:
    assert container_name(image) == name
