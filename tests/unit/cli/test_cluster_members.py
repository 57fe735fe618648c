"""cluster add, promote, remove, transfer-leader, and learners in cluster status."""

from __future__ import annotations

import pytest

from h9s._pb import cluster_pb2
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import FakeCluster


def status(name: str, *, voters: int = 3, caught_up: bool = False) -> cluster_pb2.ClusterStatusResponse:
    answer = cluster_pb2.ClusterStatusResponse(
        replica_id=name, role="leader" if name == "r1" else "follower", leader_id="r1", term=1
    )
    for number, address in enumerate(("a:1", "b:1", "c:1"), start=1):
        answer.replicas.add(id=f"r{number}", api_address=address, voter=number <= voters, caught_up=caught_up)
    return answer


def test_add_says_what_comes_next(cluster: FakeCluster, howbectl: Howbectl) -> None:
    result = howbectl("cluster add r4 --api-address d:1 --peer-address d:2")
    assert (result.exit_code, result.stdout) == (0, "replica/r4 added\n")
    assert "howbectl cluster promote r4" in result.stderr
    assert cluster.member_requests == [
        cluster_pb2.AddReplicaRequest(id="r4", api_address="d:1", peer_address="d:2")
    ]


def test_add_can_wait_until_it_has_caught_up(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = dict.fromkeys(cluster.servers, status("r1", caught_up=True))
    result = howbectl("cluster add r3 --api-address c:1 --peer-address c:2 --wait")
    assert result.stdout == "replica/r3 added and level with the others\n"


def test_waiting_ends(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = dict.fromkeys(cluster.servers, status("r1"))
    result = howbectl("cluster add r3 --api-address c:1 --peer-address c:2 --wait --timeout 1s")
    assert result.exit_code == 1
    assert "has not caught up within 1 s" in result.stderr


@pytest.mark.parametrize(
    ("line", "request_", "output"),
    [
        ("promote r4", cluster_pb2.PromoteReplicaRequest(id="r4"), "replica/r4 promoted\n"),
        ("remove r4", cluster_pb2.RemoveReplicaRequest(id="r4"), "replica/r4 removed\n"),
        ("transfer-leader r2", cluster_pb2.TransferLeadershipRequest(id="r2"), "replica/r2 leads\n"),
        ("transfer-leader", cluster_pb2.TransferLeadershipRequest(), "replica/r1 leads\n"),
    ],
)
def test_what_is_asked_goes_to_the_leader(cluster, howbectl, line, request_, output):
    cluster.replicas = [cluster_pb2.Replica(id=f"r{number}", voter=True) for number in range(3)]
    leader = status("r1")
    leader.replicas.add(id="r4", api_address="d:1")
    cluster.statuses = dict.fromkeys(cluster.servers, leader)
    result = howbectl(f"cluster {line}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, output, "")
    assert cluster.member_requests == [request_]


def test_what_does_not_take_part_cannot_be_removed(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = dict.fromkeys(cluster.servers, status("r1"))
    result = howbectl("cluster remove r9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no replica r9 in this cluster; there are r1, r2, r3" in result.stderr
    assert not cluster.member_requests


def test_adding_a_voter_says_that_it_is_one(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.replicas = [cluster_pb2.Replica(id="r2", voter=True)]
    result = howbectl("cluster add r2 --api-address b:1 --peer-address b:2")
    assert (result.exit_code, result.stderr) == (0, "it takes part already, and is a voter\n")


def test_an_even_number_of_voters_is_remarked_upon(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.replicas = [cluster_pb2.Replica(id=f"r{number}", voter=True) for number in range(4)]
    assert "of 4 voters no more may be lost than of 3" in howbectl("cluster promote r4").stderr


def test_a_replica_without_a_vote_is_shown_as_a_learner(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {
        address: status(name, voters=2) for address, name in (("a:1", "r1"), ("b:1", "r2"), ("c:1", "r3"))
    }
    result = howbectl("cluster status")
    assert [line.split()[1] for line in result.lines] == ["ROLE", "leader", "follower", "learner"]


def test_learners_are_no_part_of_a_majority(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.statuses = {"a:1": status("r1", voters=2), "c:1": status("r3", voters=2)}
    cluster.kill("b:1")
    result = howbectl("cluster status")
    assert result.exit_code == 1
    assert "without a majority writes wait" in result.stderr
