"""Each mistake gets one clear message and an exit code, and changes nothing: with the server's checks."""

from __future__ import annotations

import pytest

from tests.integration.cli.conftest import Howbectl

WEB = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: app
        image: web:1
"""


def _everything(howbectl: Howbectl) -> str:
    return howbectl("get pods,deploy,rs,ns,no -A -o yaml").stdout


@pytest.mark.parametrize("verb", ["create", "apply"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("  replicas: 2", "  replicas: 2\n   x: y"), ["standard input:7: malformed YAML"]),
        (
            ("kind: Deployment", "kind: Deploymnet"),
            ["standard input:2: kind: ", "did you mean 'Deployment'?"],
        ),
        (
            ("containers:", "contaniers:"),
            ["spec.template.spec.contaniers: unknown field, did you mean 'containers'?"],
        ),
        (("replicas: 2", "replicas: two"), ["standard input:6: spec.replicas: "]),
        (("name: web", "name: Web_1"), ["metadata.name: 'Web_1' is not a valid name"]),
        (("matchLabels: {app: web}", "matchLabels: {app: other}"), ["spec.template.metadata.labels"]),
        (("replicas: 2", "replicas: -2"), ["spec.replicas"]),
        (("image: web:1", "imagePullPolicy: Always"), ["spec.template.spec.containers[0].image"]),
    ],
)
def test_faulty_manifests(howbectl: Howbectl, verb: str, change: tuple[str, str], words: list[str]) -> None:
    before = _everything(howbectl)
    good = WEB.replace("web", "good")
    result = howbectl(f"{verb} -f -", stdin=f"{WEB.replace(*change)}---\n{good}")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for word in words:
        assert word in result.stderr
    assert _everything(howbectl) == before


def test_creating_what_exists(howbectl: Howbectl) -> None:
    howbectl("create -f -", stdin=WEB.replace("web", "twice"))
    before = _everything(howbectl)
    result = howbectl("create -f -", stdin=f"{WEB.replace('web', 'once')}---\n{WEB.replace('web', 'twice')}")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error from server (AlreadyExists): ")
    assert "twice" in result.stderr
    assert _everything(howbectl) == before


@pytest.mark.parametrize("line", ["get pod nope", "delete pod nope", "scale deploy nope --replicas=1"])
def test_what_does_not_exist(howbectl: Howbectl, line: str) -> None:
    result = howbectl(line)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error from server (NotFound): ")


def test_a_stale_resource_version(howbectl: Howbectl) -> None:
    howbectl("create -f -", stdin=WEB.replace("web", "stale"))
    manifest = howbectl("get deploy stale -o yaml").stdout
    howbectl("label deploy stale a=b")
    before = _everything(howbectl)
    result = howbectl("apply -f -", stdin=manifest.replace("image: stale:1", "image: stale:2"))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error from server (Conflict): ")
    assert _everything(howbectl) == before


def test_a_field_that_cannot_be_changed(howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=WEB.replace("web", "fixed"))
    before = _everything(howbectl)
    result = howbectl("apply -f -", stdin=WEB.replace("web", "fixed").replace("{app: fixed}", "{app: other}"))
    assert result.exit_code == 1
    assert "spec.selector" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert _everything(howbectl) == before


def test_a_pod_is_changed_only_in_its_image(howbectl: Howbectl) -> None:
    howbectl("run still --image=a:1")
    pod = "kind: Pod\nmetadata: {name: still}\nspec: {containers: [{name: still, image: a:2}]}"
    assert howbectl("apply -f -", stdin=pod).exit_code == 0
    result = howbectl("apply -f -", stdin=pod.replace("image: a:2", "image: a:2, command: [x]"))
    assert result.exit_code == 1
    assert "spec" in result.stderr


def test_labels_that_are_none(howbectl: Howbectl) -> None:
    howbectl("run labelled --image=a:1")
    result = howbectl("label pod labelled 'a=not valid'")
    assert result.exit_code == 1
    assert "'not valid' is not a valid label value" in result.stderr
