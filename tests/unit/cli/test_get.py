from __future__ import annotations

import json

import yaml

from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import START, FakeCluster, interrupt
from tests.unit.cli.objects import deployment, event, node, pod, replica_set


def test_pods_are_listed_in_kubectls_columns(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.put(pod("a-longer-name", phase="Pending", ready=False, node=""))
    result = howbectl("get pods")
    assert result.exit_code == 0
    assert result.lines == [
        "NAME            READY   STATUS    RESTARTS   AGE",
        "a-longer-name   0/1     Pending   0          3m12s",
        "web             1/1     Running   0          3m12s",
    ]


def test_wide_adds_address_and_node(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    header, row = howbectl("get po -o wide").lines
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split() == ["web", "1/1", "Running", "0", "3m12s", "127.1.0.2", "n1"]


def test_each_kind_has_kubectls_columns(cluster: FakeCluster, howbectl: Howbectl) -> None:
    web = deployment()
    cluster.put(web)
    cluster.put(replica_set(web, revision=1, replicas=3))
    cluster.put(node("n1", unschedulable=True))
    assert [line.split() for line in howbectl("get deploy").lines] == [
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
        ["web", "3/3", "3", "3", "3m12s"],
    ]
    assert [line.split() for line in howbectl("get rs").lines] == [
        ["NAME", "DESIRED", "CURRENT", "READY", "AGE"],
        ["web-r1", "3", "3", "0", "3m12s"],
    ]
    assert [line.split() for line in howbectl("get no").lines] == [
        ["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
        ["n1", "Ready,SchedulingDisabled", "<none>", "120m", "0.1.0"],
    ]
    assert [line.split() for line in howbectl("get ns").lines] == [
        ["NAME", "STATUS", "AGE"],
        ["default", "Active", "3m12s"],
    ]


def test_a_kind_goes_by_all_its_names(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment())
    outputs = {
        howbectl(f"get {name}").stdout for name in ("deployments", "deployment", "deploy", "Deployment.apps")
    }
    assert len(outputs) == 1


def test_several_kinds_are_separate_tables_with_qualified_names(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.put(deployment())
    cluster.put(pod())
    lines = howbectl("get deploy,pods").lines
    assert lines[1].startswith("deployment.apps/web ")
    assert lines[2] == ""
    assert lines[4].startswith("pod/web ")


def test_all_means_what_runs(cluster: FakeCluster, howbectl: Howbectl) -> None:
    web = deployment()
    for each in (web, replica_set(web, revision=1), pod(), node()):
        cluster.put(each)
    stdout = howbectl("get all").stdout
    assert [line.split()[0] for line in stdout.splitlines() if "/" in line.split(" ")[0]] == [
        "pod/web",
        "deployment.apps/web",
        "replicaset.apps/web-r1",
    ]


def test_one_object_as_yaml_is_the_object_and_several_are_a_list(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.put(pod("a"))
    cluster.put(pod("b"))
    one = yaml.safe_load(howbectl("get pod a -o yaml").stdout)
    assert (one["kind"], one["metadata"]["name"]) == ("Pod", "a")
    both = json.loads(howbectl("get pods -o=json").stdout)
    assert both["kind"] == "List"
    assert [item["metadata"]["name"] for item in both["items"]] == ["a", "b"]


def test_names_alone(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    cluster.put(deployment("b"))
    assert howbectl("get pods,deployments -o name").lines == ["pod/a", "deployment.apps/b"]


def test_selectors_namespaces_and_labels(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a", labels={"app": "x", "tier": "front"}))
    cluster.put(pod("b", labels={"app": "y"}, node="n2"))
    cluster.put(pod("c", namespace="other"))
    assert howbectl("get pods -l app=x -o name").lines == ["pod/a"]
    assert howbectl("get pods --field-selector spec.nodeName=n2 -o name").lines == ["pod/b"]
    assert howbectl("get pods -n other -o name").lines == ["pod/c"]
    assert howbectl("-n other get pods -o name").lines == ["pod/c"]
    assert [line.split()[0] for line in howbectl("get pods -A").lines] == [
        "NAMESPACE",
        "default",
        "default",
        "other",
    ]
    assert howbectl("get pods --show-labels --no-headers").lines[0].endswith("app=x,tier=front")
    assert howbectl("get pods -L tier").lines[1].endswith("front")


def test_sorting_by_a_field(cluster: FakeCluster, howbectl: Howbectl) -> None:
    young, old = pod("young"), pod("a-old")
    young.metadata.creation_timestamp.seconds = START - 500
    old.metadata.creation_timestamp.seconds = START - 5
    cluster.put(young)
    cluster.put(old)
    assert howbectl("get pods -o name --sort-by=.metadata.creationTimestamp").lines == [
        "pod/young",
        "pod/a-old",
    ]
    assert howbectl("get pods --sort-by=a[0]").exit_code == 2


def test_nothing_there_is_said_on_stderr_and_no_error(howbectl: Howbectl) -> None:
    result = howbectl("get pods")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No resources found in default namespace.\n"
    assert howbectl("get pods -A").stderr == "No resources found\n"


def test_what_is_missing_is_an_error_and_the_rest_is_shown(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a"))
    result = howbectl("get pod a nope")
    assert result.exit_code == 1
    assert result.lines[1].startswith("a ")
    assert result.stderr == 'Error from server (NotFound): pods "nope" not found\n'
    assert howbectl("get pod nope --ignore-not-found").exit_code == 0


def test_watching_prints_each_change_in_the_same_columns(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", phase="Pending", ready=False))
    cluster.while_watched(
        lambda: cluster.put(pod("web")), lambda: cluster.put(pod("web-2-with-a-long-name")), interrupt
    )
    result = howbectl("get pods -w")
    assert result.exit_code == 130
    assert result.stderr == ""
    assert result.lines == [
        "NAME   READY   STATUS    RESTARTS   AGE",
        "web    0/1     Pending   0          3m12s",
        "web    1/1     Running   0          3m12s",
        "web-2-with-a-long-name   1/1     Running   0          3m12s",
    ]


def test_watching_one_object_sees_only_that(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.while_watched(
        lambda: cluster.put(pod("other")),
        lambda: cluster.remove(cluster.stored(type(pod()), "web")),
        interrupt,
    )
    result = howbectl("get pod web -w -o name")
    assert result.lines == ["pod/web", "pod/web"]


def test_a_watch_whose_history_is_gone_reads_again(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))

    def compact() -> None:
        cluster.put(pod("late"))
        cluster.objects.compact()
        cluster.break_connections("a:1")
        cluster.break_connections("b:1")
        cluster.break_connections("c:1")

    cluster.while_watched(compact, *[lambda: None] * 30, interrupt)
    assert howbectl("get pods -w -o name").lines == ["pod/web", "pod/late"]


def test_events_come_as_they_happened(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for name, seconds_ago in (("a", 5), ("b", 50), ("c", 5)):
        cluster.put(event(name, seconds_ago=seconds_ago))
    assert howbectl("get events -o name").lines == ["event/b", "event/a", "event/c"]


def test_events_are_shown_with_their_repeats(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(event("e1", count=3, seconds_ago=5, reason="BackOff", type="Warning", message="again"))
    header, row = howbectl("get events").lines
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row.startswith("5s (x3 over 2m5s)   Warning   BackOff   pod/web   again")
