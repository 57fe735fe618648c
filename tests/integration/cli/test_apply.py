"""apply against a real apiserver, whose defaults and canonical forms the merge has to live with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from h9s.api.codec import load_manifests
from h9s.api.defaults import set_defaults
from h9s.api.validation import validate_create
from h9s.errors import InvalidError
from tests.integration.cli.conftest import Howbectl

SHARED = Path(__file__).parents[4] / "shared" / "manifests"
EXAMPLES = Path(__file__).parents[3] / "cluster" / "examples"

WEB = """
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  minReadySeconds: 0
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
      - name: app
        image: web:1
        ports: [{containerPort: 80}]
        env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
        resources: {limits: {cpu: 0.5, memory: 1024Ki}}
"""


def _web(name: str) -> str:
    return WEB.replace("NAME", name)


def _get(howbectl: Howbectl, target: str) -> object:
    return yaml.safe_load(howbectl(f"get {target} -o yaml").stdout)


def test_created_unchanged_configured(howbectl: Howbectl) -> None:
    manifest = _web("basic")
    assert howbectl("apply -f -", stdin=manifest).stdout == "deployment.apps/basic created\n"
    before = _get(howbectl, "deploy/basic")
    assert howbectl("apply -f -", stdin=manifest).stdout == "deployment.apps/basic unchanged\n"
    assert _get(howbectl, "deploy/basic") == before
    changed = manifest.replace("web:1", "web:2")
    assert howbectl("apply -f -", stdin=changed).stdout == "deployment.apps/basic configured\n"
    assert howbectl("apply -f -", stdin=changed).stdout == "deployment.apps/basic unchanged\n"


def test_what_the_server_writes_its_own_way_is_no_change(howbectl: Howbectl) -> None:
    manifest = _web("own-way").replace("cpu: 0.5", "cpu: 1000m").replace("1024Ki", "1Mi")
    howbectl("apply -f -", stdin=manifest)
    first = _get(howbectl, "deploy/own-way")
    assert howbectl("apply -f -", stdin=manifest).stdout.endswith("unchanged\n")
    assert _get(howbectl, "deploy/own-way") == first


def test_replicas_of_scale_survive_an_apply_without_them(howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=_web("scaled"))
    assert howbectl("scale deploy scaled --replicas=4").exit_code == 0
    howbectl("apply -f -", stdin=_web("scaled").replace("web:1", "web:2"))
    document = json.loads(howbectl("get deploy scaled -o json").stdout)
    assert document["spec"]["replicas"] == 4
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


def test_a_limit_that_leaves_the_manifest_leaves_the_object(howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=_web("limits"))
    without = _web("limits").replace("        resources: {limits: {cpu: 0.5, memory: 1024Ki}}\n", "")
    assert howbectl("apply -f -", stdin=without).stdout.endswith("configured\n")
    document = json.loads(howbectl("get deploy limits -o json").stdout)
    assert "resources" not in document["spec"]["template"]["spec"]["containers"][0]


def test_a_strategy_is_exchanged_whole(howbectl: Howbectl) -> None:
    manifest = _web("strategy")
    howbectl("apply -f -", stdin=manifest)
    recreate = manifest.replace("spec:\n  selector", "spec:\n  strategy: {type: Recreate}\n  selector", 1)
    assert howbectl("apply -f -", stdin=recreate).stdout.endswith("configured\n")
    document = json.loads(howbectl("get deploy strategy -o json").stdout)
    assert document["spec"]["strategy"] == {"type": "Recreate"}


def test_a_namespace_and_its_content_are_one_revision(howbectl: Howbectl) -> None:
    inside = _web("inside").replace("name: inside}\nspec", "name: inside, namespace: crew}\nspec", 1)
    result = howbectl("apply -f -", stdin=f"{inside}---\nkind: Namespace\nmetadata: {{name: crew}}\n")
    assert result.lines == ["deployment.apps/inside created", "namespace/crew created"]
    revisions = {
        json.loads(howbectl(f"get {target} -n crew -o json").stdout)["metadata"]["resourceVersion"]
        for target in ("deploy/inside", "ns/crew")
    }
    assert len(revisions) == 1


def test_a_missing_namespace_is_an_error_and_nothing_is_made(howbectl: Howbectl) -> None:
    nowhere = _web("nowhere").replace("name: nowhere}\nspec", "name: nowhere, namespace: nope}\nspec", 1)
    result = howbectl("apply -f -", stdin=f"{_web('beside')}---{nowhere}")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error from server (NotFound): ")
    assert "nope" in result.stderr
    assert howbectl("get deploy beside").exit_code == 1


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_leaves_no_trace(howbectl: Howbectl, mode: str) -> None:
    result = howbectl(f"apply --dry-run={mode} -f -", stdin=_web("dry"))
    assert result.stdout.startswith("deployment.apps/dry created (")
    assert howbectl("get deploy dry").exit_code == 1


def test_a_dry_run_on_the_server_checks(howbectl: Howbectl) -> None:
    result = howbectl(
        "apply --dry-run=server -f -", stdin=_web("dry").replace("{app: dry}}\n  min", "{app: other}}\n  min")
    )
    assert result.exit_code == 1


def _objects_of(folder: Path) -> list[Path]:
    """The manifests that h9s has the kinds and fields for."""
    return [path for path in sorted(folder.rglob("*.yaml")) if _is_supported(path)]


def _is_supported(path: Path) -> bool:
    try:
        objects = load_manifests(path.read_text())
    except InvalidError:
        return False
    for message in objects:
        message.metadata.namespace = message.metadata.namespace or "default"
        set_defaults(message)
    return bool(objects) and not any("valueFrom" in str(f) for m in objects for f in validate_create(m))


@pytest.mark.parametrize("folder", [SHARED, EXAMPLES], ids=["shared", "examples"])
def test_real_manifests_apply_and_then_are_unchanged(howbectl: Howbectl, folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    files = _objects_of(folder)
    assert files
    for path in files:
        for message in load_manifests(path.read_text()):
            howbectl(f"create ns {message.metadata.namespace or 'default'}")
        first = howbectl(f"apply -f {path}")
        assert first.exit_code == 0, f"{path}: {first.stderr}"
        assert all(line.startswith("namespace/") or line.endswith(" created") for line in first.lines), path
        second = howbectl(f"apply -f {path}")
        assert all(line.endswith(" unchanged") for line in second.lines), path
        assert howbectl(f"delete -f {path} --wait=false").exit_code == 0


def test_what_get_prints_applies_again(howbectl: Howbectl) -> None:
    howbectl("apply -f -", stdin=_web("round"))
    printed = howbectl("get deploy round -o yaml").stdout
    assert howbectl("apply -f -", stdin=printed).exit_code == 0
    howbectl("scale deploy/round --replicas=3")
    stale = howbectl("apply -f -", stdin=printed)
    assert stale.exit_code == 1
    assert stale.stderr.startswith("Error from server (Conflict): ")
    assert json.loads(howbectl("get deploy round -o json").stdout)["spec"]["replicas"] == 3
