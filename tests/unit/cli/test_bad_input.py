"""Each mistake gets one clear message on stderr and an exit code, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster
from tests.unit.cli.objects import pod

DEPLOYMENT = """apiVersion: apps/v1
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


@pytest.mark.parametrize("verb", ["apply", "create"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("  replicas: 2", "  replicas: 2\n   selector: x"), ["web.yaml:7: malformed YAML"]),
        (
            ("kind: Deployment", "kind: Deploymnet"),
            ["web.yaml:2: kind", "'Deploymnet'", "did you mean 'Deployment'?"],
        ),
        (
            ("      containers:", "      contaniers:"),
            ["web.yaml:13: spec.template.spec.contaniers: unknown field, did you mean 'containers'?"],
        ),
        (("replicas: 2", "replicas: two"), ["web.yaml:6: spec.replicas"]),
        (("name: web", "name: Web_1"), ["metadata.name", "'Web_1' is not a valid name"]),
        (
            ("matchLabels: {app: web}", "matchLabels: {app: other}"),
            ["spec.template.metadata.labels", "selector"],
        ),
        (("name: web\n", "name: web\n  name: web\n"), ["web.yaml:5", "duplicate key 'name'"]),
        (("apps/v1", "apps/v9"), ["web.yaml:1: apiVersion: 'apps/v9' has no kind Deployment"]),
    ],
)
def test_a_faulty_manifest(
    cluster: FakeCluster,
    howbectl: Howbectl,
    tmp_path: Path,
    verb: str,
    change: tuple[str, str],
    words: list[str],
) -> None:
    (tmp_path / "web.yaml").write_text(DEPLOYMENT.replace(*change))
    before = cluster.objects.revision
    result = howbectl(f"{verb} -f web.yaml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for word in words:
        assert word in result.stderr
    assert cluster.objects.revision == before


@pytest.mark.parametrize(
    ("verb", "words"),
    [("apply", "needs metadata.name"), ("create", "metadata.name"), ("delete", "has no metadata.name")],
)
@pytest.mark.parametrize("metadata", ["", "metadata:\n", "metadata: {}\n", "metadata: {labels: {a: b}}\n"])
def test_an_object_without_a_name(
    cluster: FakeCluster, howbectl: Howbectl, tmp_path: Path, verb: str, words: str, metadata: str
) -> None:
    (tmp_path / "a.yaml").write_text(f"kind: Pod\n{metadata}spec: {{containers: [{{name: c, image: x}}]}}\n")
    before = cluster.objects.revision
    result = howbectl(f"{verb} -f a.yaml")
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert cluster.objects.revision == before


@pytest.mark.parametrize("verb", ["apply", "create", "delete"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-f nope.yaml", "the file nope.yaml does not exist"),
        ("-f empty", "the folder empty has no manifests"),
        ("-f empty.yaml", "there are no objects in empty.yaml"),
        ("-f binary.yaml", "binary.yaml is not UTF-8 text"),
        ("-f - -f -", "standard input can be read only once"),
        ("-f twice.yaml", 'Pod "a" is given twice, in twice.yaml'),
        ("-f elsewhere.yaml -n mine", "is in namespace 'theirs', the command line says 'mine'"),
    ],
)
def test_files_that_will_not_do(
    cluster: FakeCluster, howbectl: Howbectl, tmp_path: Path, verb: str, arguments: str, words: str
) -> None:
    manifest = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: x}]}\n"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "twice.yaml").write_text(f"{manifest}---\n{manifest}")
    (tmp_path / "elsewhere.yaml").write_text(manifest.replace("{name: a}", "{name: a, namespace: theirs}"))
    before = cluster.objects.revision
    result = howbectl(f"{verb} {arguments}", stdin="")
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert cluster.objects.revision == before


def test_a_file_that_may_not_be_read(
    howbectl: Howbectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web.yaml").write_text(DEPLOYMENT)

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert howbectl("apply -f web.yaml").stderr == "error: cannot read web.yaml: Permission denied\n"


def test_creating_what_exists(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    before = cluster.objects.revision
    result = howbectl("run a --image=x")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error from server (AlreadyExists): ")
    assert cluster.objects.revision == before


@pytest.mark.parametrize(
    "line",
    [
        "get pod nope",
        "describe pod nope",
        "delete pod nope",
        "scale deploy nope --replicas=1",
        "rollout status deploy/nope",
        "rollout undo deploy/nope",
        "label pod nope a=b",
        "logs nope",
        "exec nope -- ls",
        "cordon nope",
        "wait --for=condition=Ready pod/nope",
    ],
)
def test_naming_what_does_not_exist(cluster: FakeCluster, howbectl: Howbectl, line: str) -> None:
    before = cluster.objects.revision
    result = howbectl(line)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error from server (NotFound): ")
    assert '"nope" not found' in result.stderr
    assert cluster.objects.revision == before


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("gett pods", 2, "there is no command 'gett', did you mean 'get'?"),
        ("get", 2, "name a kind"),
        ("get podz", 1, "unknown kind 'podz', did you mean 'Pod'?"),
        ("get pods --otput=yaml", 2, "No such option"),
        ("get pods -o xml", 2, "'xml' is not one of"),
        ("get pods a -l a=b", 2, "names or a selector, not both"),
        ("get pods a -A", 2, "cannot be named across all namespaces"),
        ("get pods,deploy -w", 2, "--watch follows one kind"),
        ("get pods -l a=b=c", 1, "label selector"),
        ("delete pods", 2, "name the objects, or take them all with --all"),
        ("delete", 2, "name a kind"),
        ("delete pod a --wait=perhaps", 2, "the value must be true or false"),
        ("delete pod a --force --grace-period=5", 2, "--force leaves no time"),
        ("scale deploy web", 2, "--replicas"),
        ("scale deploy web --replicas=-1", 2, "--replicas"),
        ("scale deploy web --replicas=many", 2, "--replicas"),
        ("scale pod web --replicas=1", 2, "a pod has no replicas to scale"),
        ("scale deploy --replicas=1", 2, "name the deployment"),
        ("rollout status pod/web", 2, "only Deployments have rollouts"),
        ("run web", 2, "--image"),
        ("run web --image=x --env=A", 2, "write NAME=VALUE"),
        ("run web --image=x --command", 2, "--command needs the command"),
        ("create", 2, "name a manifest with -f"),
        ("logs", 2, "name a pod"),
        ("logs web --since=soon", 2, "'soon' is not a duration"),
        ("exec web", 2, "say which command to run"),
        ("label pod web", 2, "say what to change"),
        ("wait --for=ready pod/web", 2, "write condition=TYPE"),
        ("completion tcsh", 2, "'tcsh' is not one of"),
    ],
)
def test_command_lines_that_cannot_be_understood(
    cluster: FakeCluster, howbectl: Howbectl, line: str, code: int, words: str
) -> None:
    before = cluster.objects.revision
    result = howbectl(line)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert cluster.objects.revision == before
