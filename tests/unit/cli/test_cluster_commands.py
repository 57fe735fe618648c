"""cluster status, worker, events, wait, version, api-resources."""

from __future__ import annotations

import pytest
import yaml

from h9s._pb import cluster_pb2, core_pb2
from h9s.cli.replicas import ClusterView
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster, interrupt
from tests.unit.cli.objects import deployment, event, node, pod


def _status(name: str, *, leader: str = "r1", term: int = 4) -> cluster_pb2.ClusterStatusResponse:
    status = cluster_pb2.ClusterStatusResponse(
        replica_id=name,
        role="leader" if name == leader else "follower",
        leader_id=leader,
        term=term,
        commit_index=120,
        applied_index=119,
        revision=77,
        version="0.1.0",
    )
    for number, address in enumerate(("a:1", "b:1", "c:1"), start=1):
        replica = status.replicas.add(id=f"r{number}", api_address=address)
        if name == leader and number > 1:
            replica.lag_entries = number
    return status


def test_every_replica_is_shown_as_it_describes_itself(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {"a:1": _status("r1"), "b:1": _status("r2"), "c:1": _status("r3")}
    result = howbectl("cluster status")
    assert result.exit_code == 0
    assert [line.split() for line in result.lines] == [
        ["REPLICA", "ROLE", "ADDRESS", "TERM", "COMMIT", "APPLIED", "REVISION", "LAG", "VERSION"],
        ["r1", "leader", "a:1", "4", "120", "119", "77", "0", "0.1.0"],
        ["r2", "follower", "b:1", "4", "120", "119", "77", "2", "0.1.0"],
        ["r3", "follower", "c:1", "4", "120", "119", "77", "3", "0.1.0"],
    ]
    assert result.stderr == "3 of 3 replicas answer; r1 leads in term 4, revision 77\n"


def test_a_dead_replica_is_shown_as_unreachable(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {"a:1": _status("r1"), "b:1": _status("r2")}
    cluster.kill("c:1")
    result = howbectl("cluster status")
    assert result.exit_code == 0
    assert result.lines[3].split() == ["r3", "unreachable", "c:1", "-", "-", "-", "-", "-", "-"]
    assert "2 of 3 replicas answer" in result.stderr


def test_a_replica_that_hangs_is_unreachable_within_a_second(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.statuses = {"a:1": _status("r1"), "b:1": _status("r2")}
    cluster.hang("c:1")
    assert "unreachable" in howbectl("cluster status").lines[3]


def test_replicas_that_the_configuration_does_not_name_are_asked_too(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.statuses = {"a:1": _status("r1"), "b:1": _status("r2"), "c:1": _status("r3")}
    assert len(howbectl("cluster status --server b:1").lines) == 4


def test_without_a_leader_it_fails(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {"a:1": _status("r1", leader=""), "b:1": _status("r2", leader="")}
    cluster.kill("c:1")
    result = howbectl("cluster status")
    assert result.exit_code == 1
    assert len(result.lines) == 4
    assert result.stderr == "error: 2 of 3 replicas answer; there is no leader: writes wait\n"


def test_a_leader_without_a_majority_does_not_count(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {"a:1": _status("r1")}
    cluster.kill("b:1")
    cluster.kill("c:1")
    result = howbectl("cluster status")
    assert result.exit_code == 1
    assert "1 of 3 replicas answer" in result.stderr
    assert "without a majority writes wait" in result.stderr


def test_nobody_answers(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for server in cluster.servers:
        cluster.kill(server)
    result = howbectl("cluster status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no replica answers (tried a:1, b:1, c:1); is the cluster running?\n"


def test_of_two_that_say_they_lead_the_later_term_is_believed() -> None:
    view = ClusterView({"a:1": _status("r1"), "b:1": _status("r2", leader="r2", term=5), "c:1": None})
    assert view.leader is not None
    assert view.leader.replica_id == "r2"


def test_workers_with_how_full_they_are(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(node("n1"))
    cluster.put(node("n2", ready="Unknown"))
    busy = pod("busy", node="n1")
    busy.spec.containers[0].resources.requests.update({"cpu": "500m", "memory": "1Gi"})
    cluster.put(busy)
    cluster.put(pod("done", phase="Succeeded", node="n1"))
    result = howbectl("worker")
    assert [line.split()[:6] for line in result.lines] == [
        ["NAME", "STATUS", "PODS", "CPU", "MEMORY", "RUNTIME"],
        ["n1", "Ready", "1/110", "0.5/2", "1.0Gi/4.0Gi", "docker://20.10"],
        ["n2", "NotReady", "0/110", "0/2", "0/4.0Gi", "docker://20.10"],
    ]
    assert "10.0.0.5:7460" in result.lines[1]
    assert "howbelet --join 127.0.0.1:1 --token h9s1.id.secret.ca" in result.stderr


def test_a_cluster_without_workers_says_so(howbectl: Howbectl) -> None:
    result = howbectl("worker")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no workers yet" in result.stderr


def test_the_command_that_joins_a_machine(cluster: FakeCluster, howbectl: Howbectl) -> None:
    assert howbectl("worker join").stdout == "howbelet --join 127.0.0.1:1 --token h9s1.id.secret.ca\n"
    assert howbectl("worker token --ttl=10m").stdout == "h9s1.id.secret.ca\n"
    assert cluster.token_ttls == [3600, 600]


def test_events_come_oldest_first(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(event("e1", seconds_ago=5, reason="Late"))
    cluster.put(event("e2", seconds_ago=500, reason="Early", type="Warning"))
    cluster.put(event("e3", about="other", seconds_ago=50, reason="Other"))
    assert [line.split()[2] for line in howbectl("events --no-headers").lines] == ["Early", "Other", "Late"]
    assert [line.split()[2] for line in howbectl("events --no-headers --for pod/web").lines] == [
        "Early",
        "Late",
    ]
    assert [line.split()[2] for line in howbectl("events --no-headers --types=warning").lines] == ["Early"]
    assert howbectl("events --for deploy/web").stderr == "No events found in default namespace.\n"


def test_events_as_they_happen(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(event("e1", reason="First"))
    cluster.while_watched(
        lambda: cluster.put(event("e2", reason="Second")),
        lambda: cluster.put(event("e3", about="other", reason="Other")),
        interrupt,
    )
    result = howbectl("events --for=pod/web -w --no-headers")
    assert result.exit_code == 130
    assert [line.split()[2] for line in result.lines] == ["First", "Second"]


def test_waiting_for_a_condition(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", ready=False))
    cluster.while_watched(lambda: cluster.put(pod("web", ready=False)), lambda: cluster.put(pod("web")))
    result = howbectl("wait --for=condition=ready pod/web")
    assert (result.exit_code, result.stdout) == (0, "pod/web condition met\n")
    assert howbectl("wait --for=condition=Ready=False pod/web --timeout=20ms").stderr == (
        "error: timed out waiting for the condition on pod/web\n"
    )


def test_a_condition_of_an_older_spec_does_not_count(cluster: FakeCluster, howbectl: Howbectl) -> None:
    stale = deployment("web")
    stale.metadata.generation = 2
    stale.status.conditions.add(type="Available", status="True")
    cluster.put(stale)
    current = deployment("web")
    current.status.conditions.add(type="Available", status="True")
    assert howbectl("wait --for=condition=Available deploy/web --timeout=20ms").exit_code == 1
    cluster.put(current)
    assert howbectl("wait --for=condition=Available deploy/web").exit_code == 0


def test_waiting_for_all_of_a_selection(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("a", labels={"app": "x"}))
    cluster.put(pod("b", labels={"app": "x"}))
    assert howbectl("wait --for=condition=Ready pods -l app=x").lines == [
        "pod/a condition met",
        "pod/b condition met",
    ]
    assert "there are no such objects" in howbectl("wait --for=condition=Ready pods -l app=y").stderr


def test_waiting_until_something_is_gone(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.while_watched(lambda: cluster.remove(cluster.stored(core_pb2.Pod, "web")))
    assert howbectl("wait --for=delete pod/web").stdout == "pod/web condition met\n"
    assert howbectl("wait --for=delete pod/web").stdout == "pod/web condition met\n"


def test_what_is_deleted_while_waiting_for_a_condition_is_an_error(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.put(pod("web", ready=False))
    cluster.while_watched(lambda: cluster.remove(cluster.stored(core_pb2.Pod, "web")))
    result = howbectl("wait --for=condition=Ready pod/web")
    assert result.exit_code == 1
    assert "was deleted while it was waited for" in result.stderr


def test_versions(cluster: FakeCluster, howbectl: Howbectl) -> None:
    for server in cluster.servers:
        cluster.statuses[server] = _status("r1")
    assert howbectl("version").lines[1] == "Server Version: 0.1.0"
    assert len(howbectl("version --client").lines) == 1


def test_the_kinds_are_listed_with_their_names(howbectl: Howbectl) -> None:
    lines = howbectl("api-resources").lines
    assert lines[0].split() == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in [line.split() for line in lines]
    assert howbectl("api-resources --namespaced=false -o name").lines == ["namespaces", "nodes"]


@pytest.mark.parametrize("option", ["", "--raw"])
def test_the_configuration_is_shown_without_its_secret(howbectl: Howbectl, option: str) -> None:
    stdout = howbectl(f"config view {option} -n team").stdout
    assert "- a:1" in stdout
    assert "namespace: team" in stdout
    assert ("REDACTED" in stdout) is not bool(option)


# --- what is in use ----------------------------------------------------------------------------


def _with_usage(name: str) -> cluster_pb2.ClusterStatusResponse:
    status = _status(name)
    status.objects, status.watchers, status.compact_revision = 12, 3, 40
    status.usage.journal_bytes, status.usage.snapshot_bytes = 3 << 20, 1536
    status.usage.remembered_requests, status.usage.disk_free_bytes = 7, 300 << 20
    status.usage.disk_reserve_bytes = 256 << 20
    return status


def test_wide_shows_how_much_of_everything_bounded_is_in_use(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.statuses = {"a:1": _with_usage("r1"), "b:1": _with_usage("r2"), "c:1": _with_usage("r3")}
    lines = howbectl("cluster status -o wide").lines
    table = lines[lines.index("") + 1 :]
    assert table[0].split()[:4] == ["REPLICA", "OBJECTS", "JOURNAL", "SNAPSHOTS"]
    assert table[1].split() == ["r1", "12", "3MiB", "1.5KiB", "0B", "40", "3", "7", "0", "300MiB"]


@pytest.mark.parametrize(("short", "says"), [("r1", "takes nothing that adds data"), ("r2", "in reserve\n")])
def test_a_disk_that_is_nearly_full_is_told(
    cluster: FakeCluster, howbectl: Howbectl, short: str, says: str
) -> None:
    statuses = {name: _with_usage(name) for name in ("r1", "r2", "r3")}
    statuses[short].usage.disk_is_short = True
    cluster.statuses = dict(zip(("a:1", "b:1", "c:1"), statuses.values(), strict=True))
    stderr = howbectl("cluster status").stderr
    assert f"warning: the disk of {short} is nearly full: 300MiB free" in stderr
    assert says in stderr


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_everything_can_be_had_for_programs(cluster: FakeCluster, howbectl: Howbectl, output: str) -> None:
    cluster.statuses = {"a:1": _with_usage("r1"), "b:1": _with_usage("r2")}
    cluster.kill("c:1")
    found = yaml.safe_load(howbectl(f"cluster status -o {output}").stdout)
    replicas = {replica["address"]: replica["status"] for replica in found["replicas"]}
    assert replicas["c:1"] is None
    assert replicas["a:1"]["usage"]["journalBytes"] == 3 << 20
    assert (replicas["b:1"]["role"], replicas["b:1"]["revision"]) == ("follower", 77)
