from __future__ import annotations

import re

from h9s._pb import apps_pb2, coordination_pb2, core_pb2
from h9s.cli.describe.sheet import Sheet
from h9s.cli.merge import LAST_APPLIED
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import START, FakeCluster
from tests.unit.cli.objects import deployment, event, node, pod, replica_set


def _squeezed(text: str) -> list[str]:
    return [re.sub(r" {2,}", "  ", line.strip()) for line in text.splitlines()]


def test_a_sheet_aligns_each_level_by_itself() -> None:
    sheet = Sheet()
    sheet.put("Name", "web")
    sheet.put_map("Labels", {"b": "2", "a": "1"})
    inner = sheet.section("Containers").section("app")
    inner.put("Image", "web:1")
    inner.put_lines("Command", [])
    sheet.put_table("Conditions", ["Type", "Status"], [["Ready", "True"]])
    sheet.put_table("Events", ["Type"], [])
    assert sheet.lines() == [
        "Name:    web",
        "Labels:  a=1",
        "         b=2",
        "Containers:",
        "  app:",
        "    Image:    web:1",
        "    Command:  <none>",
        "Conditions:",
        "  Type    Status",
        "  ----    ------",
        "  Ready   True",
        "Events:  <none>",
    ]


def test_a_pod_with_its_trouble_and_its_events(cluster: FakeCluster, howbectl: Howbectl) -> None:
    web = pod("web", labels={"app": "web"})
    web.metadata.annotations.update({"note": "two\nlines", LAST_APPLIED: "{}"})
    container = web.spec.containers[0]
    container.command.extend(["sh", "-c", "exit 3"])
    container.ports.add(container_port=80)
    container.env.add(name="MODE", value="fast")
    container.env.add(name="IP").value_from.field_ref.field_path = "status.podIP"
    container.resources.limits["cpu"] = "500m"
    status = web.status.container_statuses[0]
    status.restart_count = 4
    status.state.Clear()
    status.state.waiting.reason = "CrashLoopBackOff"
    status.state.waiting.message = "back-off 40s"
    status.last_state.terminated.exit_code = 3
    status.last_state.terminated.reason = "Error"
    cluster.put(web)
    cluster.put(event("late", reason="BackOff", message="again", seconds_ago=5, type="Warning", count=4))
    cluster.put(event("early", reason="Scheduled", message="to n1", seconds_ago=60))
    cluster.put(event("other", about="another"))
    stdout = howbectl("describe pod web").stdout
    lines = _squeezed(stdout)
    for line in (
        "Name:  web",
        "Node:  n1",
        "Labels:  app=web",
        "Annotations:  note: two lines",
        "Status:  CrashLoopBackOff",
        "IP:  127.1.0.2",
        "Image:  busybox:1",
        "Ports:  80/TCP",
        "MODE: fast",
        "State:  Waiting: CrashLoopBackOff",
        "back-off 40s",
        "Last State:  Terminated",
        "Exit Code: 3",
        "Restart Count:  4",
    ):
        assert any(line in each for each in lines), line
    assert "(status.podIP)" in stdout
    assert LAST_APPLIED not in stdout
    assert stdout.index("Scheduled") < stdout.index("BackOff  ")
    assert "5s (x4 over 3m5s)" in stdout
    assert "another" not in stdout


def test_a_pod_that_is_being_deleted_says_since_when(cluster: FakeCluster, howbectl: Howbectl) -> None:
    leaving = pod("web")
    leaving.metadata.deletion_timestamp.seconds = START + 20
    leaving.metadata.deletion_grace_period_seconds = 30
    cluster.put(leaving)
    assert "Terminating (for 10s, grace period 30s)" in howbectl("describe pod web").stdout


def test_a_deployment_with_its_replica_sets(cluster: FakeCluster, howbectl: Howbectl) -> None:
    web = deployment("web")
    web.status.conditions.add(type="Available", status="True", reason="MinimumReplicasAvailable")
    cluster.put(web)
    cluster.put(replica_set(web, revision=1, replicas=1))
    cluster.put(replica_set(web, revision=2, replicas=3))
    lines = _squeezed(howbectl("describe deploy/web").stdout)
    for line in (
        "Selector:  app=web",
        "Replicas:  3 desired | 3 updated | 3 total | 3 available | 0 unavailable",
        "Strategy:  RollingUpdate, 25% max unavailable, 25% max surge",
        "Old ReplicaSets:  web-r1 (1/1 replicas created)",
        "New ReplicaSet:  web-r2 (3/3 replicas created)",
        "Events:  <none>",
    ):
        assert line in lines


def test_a_replica_set_counts_its_own_pods(cluster: FakeCluster, howbectl: Howbectl) -> None:
    mine = replica_set(deployment("web"), revision=1, replicas=2)
    cluster.put(mine)
    labels = dict(mine.spec.selector.match_labels)
    for name, phase in (("a", "Running"), ("b", "Pending"), ("stranger", "Running")):
        each = pod(name, phase=phase, labels=labels)
        if name != "stranger":
            each.metadata.owner_references.add(kind="ReplicaSet", uid=mine.metadata.uid, controller=True)
        cluster.put(each)
    lines = _squeezed(howbectl("describe rs web-r1").stdout)
    assert "Pods:  1 Running / 1 Waiting / 0 Succeeded / 0 Failed" in lines
    assert "Controlled By:  Deployment/web" in lines


def test_a_node_with_what_runs_on_it(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(node("n1"))
    busy = pod("busy")
    busy.spec.containers[0].resources.requests.update({"cpu": "500m", "memory": "1Gi"})
    cluster.put(busy)
    cluster.put(pod("done", phase="Succeeded"))
    cluster.put(pod("elsewhere", node="n2"))
    stdout = howbectl("describe node n1").stdout
    lines = _squeezed(stdout)
    assert "Pods (1):" in lines
    assert "default  busy  500m (25%)  1Gi (25%)  3m12s" in lines
    assert "InternalIP:  10.0.0.5" in lines
    assert "elsewhere" not in stdout


def test_a_kind_without_a_describer_is_written_out(cluster: FakeCluster, howbectl: Howbectl) -> None:
    lease = coordination_pb2.Lease()
    lease.metadata.name, lease.metadata.namespace = "scheduler", "h9s-system"
    lease.spec.holder_identity, lease.spec.lease_duration_seconds = "s1", 5
    cluster.put(lease)
    lines = _squeezed(howbectl("describe lease scheduler -n h9s-system").stdout)
    assert "Holder Identity:  s1" in lines
    assert "Lease Duration Seconds:  5" in lines


def test_several_objects_are_set_apart(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a", labels={"app": "x"}))
    cluster.put(pod("b", labels={"app": "x"}))
    stdout = howbectl("describe pods -l app=x").stdout
    assert stdout.count("\n\n\nName:") == 1
    nothing = howbectl("describe deploy")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "No resources found in default namespace.\n"


def test_every_kind_is_described_however_empty(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for cls in (core_pb2.Pod, core_pb2.Node, apps_pb2.Deployment, apps_pb2.ReplicaSet, core_pb2.Event):
        empty = cls()
        empty.metadata.name = "bare"
        if cls is not core_pb2.Node:
            empty.metadata.namespace = "default"
        cluster.objects.put(empty)
        result = howbectl(f"describe {cls.DESCRIPTOR.name} bare")
        assert result.exit_code == 0
        assert result.lines[0].split() == ["Name:", "bare"]
