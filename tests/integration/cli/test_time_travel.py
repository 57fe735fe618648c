"""`get --at-revision`, `history`, `diff` and `undo` against a real apiserver."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
import yaml

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{tier: front}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - {{name: main, image: "busybox:1"}}
"""


@pytest.fixture
def web(howbectl):
    """A deployment of its own, its name and the revision that created it."""
    name = f"web-{uuid.uuid4().hex[:8]}"
    assert howbectl("apply -f -", stdin=MANIFEST.format(name=name)).exit_code == 0
    return name, revision_of(howbectl, name)


def revision_of(howbectl, name):
    return int(json.loads(howbectl(f"get deploy {name} -o json").stdout)["metadata"]["resourceVersion"])


def replicas(howbectl, name, *options):
    result = howbectl(f"get deploy {name} -o json", *options)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["spec"]["replicas"]


def test_an_object_and_a_list_are_shown_as_they_were(howbectl, web):
    name, first = web
    howbectl(f"scale deploy {name} --replicas 3")
    assert replicas(howbectl, name) == 3
    assert replicas(howbectl, name, f"--at-revision={first}") == 1
    listed = howbectl(f"get deploy -o name --at-revision {first - 1}")
    assert f"deployment.apps/{name}" not in listed.lines
    assert f"deployment.apps/{name}" in howbectl(f"get deploy -o name --at-revision {first}").lines
    assert "1 desired" in howbectl(f"describe deploy {name} --at-revision {first}").stdout
    missing = howbectl(f"get deploy {name} --at-revision {first - 1}")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert f"not found at revision {first - 1}" in missing.stderr


def test_a_time_is_as_good_as_a_revision(howbectl, web):
    name, first = web
    time.sleep(1.1)
    moment = time.time()
    howbectl(f"scale deploy {name} --replicas 3")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    assert replicas(howbectl, name, "--at", stamp) == 1
    assert howbectl(f"get deploy {name} --at 1d").exit_code == 1
    assert "nothing in the cluster yet" in howbectl(f"get deploy {name} --at 1d").stderr
    assert first


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("get pods --at-revision 1 --at 10m", "not both"),
        ("get pods -w --at 10m", "does not change"),
        ("get pods --at tomorrow", "not a time"),
        ("get pods --at 2999-01-01T00:00:00Z", "future"),
        ("get pods --at-revision 999999999", "does not exist yet"),
        ("undo deploy x", "--to-revision"),
        ("diff --from 999999999", "does not exist yet"),
    ],
)
def test_what_makes_no_sense_is_said(howbectl, line, message):
    result = howbectl(line)
    assert result.exit_code in (1, 2)
    assert message in result.stderr


def test_the_history_says_when_who_and_what(howbectl, web):
    name, first = web
    howbectl(f"scale deploy {name} --replicas 3")
    howbectl(f"label deploy {name} tier=back --overwrite")
    result = howbectl(f"history deploy {name}")
    assert result.exit_code == 0
    assert [line for line in result.lines if line.startswith("  ")] == [
        "    metadata.labels.tier: front -> back",
        "    spec.replicas: 1 -> 3",
    ]
    headlines = [line for line in result.lines if line.startswith("revision")]
    assert [line.rsplit("  ", 1)[1] for line in headlines] == ["changed", "changed", "created"]
    assert all(re.search(r"\d{4}-\d\d-\d\dT\S+Z \(\d+s ago\)  admin/\w+", line) for line in headlines)
    assert headlines[-1].startswith(f"revision {first} ")
    data = yaml.safe_load(howbectl(f"history deploy {name} -o yaml").stdout)
    assert [each["verb"] for each in data] == ["changed", "changed", "created"]
    assert data[1]["fields"] == [{"path": "spec.replicas", "before": 1, "after": 3}]
    assert data[1]["after"]["spec"]["replicas"] == 3
    limited = howbectl(f"history deploy {name} --limit 1 -o json")
    assert [each["fields"][0]["after"] for each in json.loads(limited.stdout)] == ["back"]
    assert "--limit 0" in howbectl(f"history deploy {name} --limit 2").stderr
    assert "has not been changed" in howbectl("history deploy never-was").stderr


def test_a_difference_shows_what_came_went_and_changed(howbectl, web):
    name, first = web
    howbectl(f"scale deploy {name} --replicas 3")
    howbectl(f"scale deploy {name} --replicas 4")
    howbectl("create -f -", stdin=MANIFEST.format(name=f"{name}-new"))
    between = revision_of(howbectl, f"{name}-new")
    howbectl(f"delete deploy {name} --wait=false")
    result = howbectl(f"diff --from {first} --to {between}")
    assert result.exit_code == 0, result.stderr
    assert [line.partition("  (")[0] for line in result.lines] == [
        f"~ deployment.apps/{name} in default  changed",
        "      spec.replicas: 1 -> 4",
        f"+ deployment.apps/{name}-new in default  created",
    ]
    assert result.stderr == f"between revision {first} and {between}: 1 changed, 1 created\n"
    one = howbectl(f"diff --from {first} deploy {name}")
    assert [line.partition("  (")[0] for line in one.lines] == [
        f"- deployment.apps/{name} in default  deleted"
    ]
    assert "nothing differs" in howbectl(f"diff --from {between} --to {between}").stderr
    backwards = howbectl(f"diff --from {between} --to {first}")
    assert (backwards.exit_code, "goes forward" in backwards.stderr) == (2, True)
    data = json.loads(howbectl(f"diff --from {first} --to {between} -n default -o json").stdout)
    assert [each["object"]["name"] for each in data] == [name, f"{name}-new"]


def test_an_old_state_is_written_back(howbectl, web):
    name, first = web
    howbectl(f"scale deploy {name} --replicas 3")
    howbectl(f"label deploy {name} tier- owner=me")
    tried = howbectl(f"undo deploy {name} --to-revision {first} --dry-run")
    assert "(dry run)" in tried.stdout
    assert replicas(howbectl, name) == 3
    result = howbectl(f"undo deploy/{name} --to-revision {first}")
    assert result.exit_code == 0, result.stderr
    assert result.lines == [
        "  - metadata.labels.owner: me",
        "  + metadata.labels.tier: front",
        "    spec.replicas: 3 -> 1",
        f"deployment.apps/{name} is again as it was at revision {first}",
    ]
    assert tried.lines[:3] == result.lines[:3]
    assert replicas(howbectl, name) == 1
    assert revision_of(howbectl, name) > first
    again = howbectl(f"undo deploy {name} --to-revision {first}")
    assert again.lines == [f"deployment.apps/{name} unchanged (it is as at revision {first})"]


def test_what_was_deleted_is_made_again(howbectl, web):
    name, first = web
    uid = json.loads(howbectl(f"get deploy {name} -o json").stdout)["metadata"]["uid"]
    howbectl(f"delete deploy {name} --wait=false")
    assert howbectl(f"get deploy {name}").exit_code == 1
    assert "created again" in howbectl(f"undo deploy {name} --to-revision {first} --dry-run").stdout
    assert howbectl(f"get deploy {name}").exit_code == 1
    result = howbectl(f"undo deploy {name} --to-revision {first}")
    assert (result.exit_code, result.lines) == (
        0,
        [f"deployment.apps/{name} created again as it was at revision {first}"],
    )
    new = json.loads(howbectl(f"get deploy {name} -o json").stdout)
    assert new["metadata"]["uid"] != uid
    assert new["spec"]["replicas"] == 1
    assert "no state to go back to" in howbectl(f"undo deploy {name} --to-revision {first - 1}").stderr


def test_a_pods_immutable_spec_stays_and_that_is_said(howbectl):
    name = f"pod-{uuid.uuid4().hex[:8]}"
    assert howbectl(f"run {name} --image busybox:1").exit_code == 0
    first = json.loads(howbectl(f"get pod {name} -o json").stdout)["metadata"]["resourceVersion"]
    assert howbectl(f"label pod {name} a=b").exit_code == 0
    assert howbectl(f"undo pod {name} --to-revision {first}").exit_code == 0
    howbectl(f"delete pod {name} --force --wait=false")
    howbectl(f"run {name} --image busybox:1 --env A=b")
    result = howbectl(f"undo pod {name} --to-revision {first}")
    assert result.exit_code == 1
    assert "cannot be written over the present one" in result.stderr
