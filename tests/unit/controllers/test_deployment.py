"""A Deployment gets from any state to the one asked for, and reports how far it is."""

from __future__ import annotations

import copy

import pytest

from h9s._pb import api_pb2, apps_pb2
from h9s.controllers.deployment import revisions
from tests.unit.controllers.deployment_world import DeploymentWorld
from tests.unit.controllers.world import replica_set

Op = api_pb2.Operation
REVISION = revisions.REVISION_ANNOTATION


def verbs(decision) -> list[str]:
    return [Op.Verb.Name(operation.verb) for operation in decision.operations]


def settled(*args, **kwargs) -> DeploymentWorld:
    world = DeploymentWorld(*args, **kwargs)
    world.settle()
    return world


def test_the_first_commit_makes_a_replica_set_of_full_size():
    world = DeploymentWorld(replicas=30)
    decision = world.step()
    assert verbs(decision) == ["UPDATE", "UPDATE_STATUS", "CREATE"]
    (created,) = world.all(apps_pb2.ReplicaSet)
    assert created.spec.replicas == 30
    assert [note.message for note in decision.notes] == [
        f"Scaled up replica set {created.metadata.name} from 0 to 30"
    ]


def test_a_replica_set_carries_the_hash_of_its_template():
    world = settled()
    hashed = world.new.metadata.labels[revisions.TEMPLATE_HASH_LABEL]
    assert world.new.metadata.name == f"web-{hashed}"
    assert world.new.spec.selector.match_labels == {"app": "web", revisions.TEMPLATE_HASH_LABEL: hashed}
    assert world.new.spec.template.metadata.labels[revisions.TEMPLATE_HASH_LABEL] == hashed
    assert {pod.metadata.labels[revisions.TEMPLATE_HASH_LABEL] for pod in world.active()} == {hashed}


def test_a_settled_deployment_says_so():
    world = settled()
    status = world.deployment.status
    assert (
        status.replicas == status.updated_replicas == status.ready_replicas == status.available_replicas == 3
    )
    assert status.unavailable_replicas == 0
    assert status.observed_generation == world.deployment.metadata.generation
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    assert not world.deployment_decision().operations


def test_a_new_template_replaces_all_pods():
    world = settled(replicas=4)
    world.set_image("v2")
    world.settle()
    assert world.sizes() == {"v1": 0, "v2": 4}
    assert {pod.spec.containers[0].image for pod in world.active()} == {"v2"}
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_the_first_step_of_a_rollout_uses_surge_and_unavailability_at_once():
    world = settled(replicas=10, surge=3, unavailable=2)
    world.set_image("v2")
    world.step()
    assert world.sizes() == {"v1": 8, "v2": 3}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (0, "50%", "50%", (0, 0)),
        (3, "100%", "100%", (3, 3)),
        (3, 1, 9, (1, 3)),
    ],
)
def test_percentages_round_surge_up_and_unavailability_down(replicas, surge, unavailable, expected):
    limits = DeploymentWorld(replicas, surge=surge, unavailable=unavailable).limits
    assert (limits.max_surge, limits.max_unavailable) == expected


def test_pods_that_never_become_ready_stop_the_rollout():
    world = settled(replicas=4, surge=1, unavailable=1)
    world.set_image("broken")
    world.settle(run_pods=False)
    assert world.sizes() == {"v1": 3, "broken": 2}
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")


def test_old_pods_that_are_not_ready_go_first():
    world = settled(replicas=4, surge=0, unavailable=1)
    broken = world.active()[0]
    world.crash(broken)
    world.step_replica_sets()
    world.set_image("v2")
    world.step()
    assert world.sizes() == {"v1": 3, "v2": 0}
    world.step_replica_sets()
    assert broken.metadata.uid not in {pod.metadata.uid for pod in world.active()}


def test_recreate_starts_nothing_before_the_last_old_pod_is_gone():
    world = settled(replicas=3)
    world.recreate()
    world.set_image("v2")
    for _ in range(5):
        world.step()
        world.step_replica_sets()
    assert world.sizes() == {"v1": 0, "v2": 0}
    assert len(world.all(apps_pb2.ReplicaSet)) == 2
    world.settle()
    assert world.sizes() == {"v1": 0, "v2": 3}


def test_a_paused_deployment_rolls_nothing_out():
    world = settled()
    world.edit(paused=True)
    world.set_image("v2")
    world.settle()
    assert world.sizes() == {"v1": 3}
    assert world.condition("Progressing") == ("Unknown", "DeploymentPaused")
    world.edit(paused=False)
    world.settle()
    assert world.sizes() == {"v1": 0, "v2": 3}
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_paused_deployment_is_scaled_all_the_same():
    world = settled()
    world.edit(paused=True)
    world.edit(replicas=5)
    world.settle()
    assert world.sizes() == {"v1": 5}


def test_scaling_in_the_middle_of_a_rollout_keeps_the_proportions():
    world = settled(replicas=10, surge=3, unavailable=2)
    world.set_image("broken")
    world.settle(run_pods=False)
    assert world.sizes() == {"v1": 8, "broken": 5}
    world.edit(replicas=20)
    world.step()
    # 20 and a surge of 3: each grows by the same factor, and rounding goes to the larger.
    assert world.sizes() == {"v1": 14, "broken": 9}


def test_scaling_to_zero_stops_everything():
    world = settled(replicas=4)
    world.set_image("broken")
    world.settle(run_pods=False)
    world.edit(replicas=0)
    world.settle()
    assert set(world.sizes().values()) == {0}
    assert world.active() == []


def test_revisions_count_up():
    world = settled()
    for image in ("v2", "v3"):
        world.set_image(image)
        world.settle()
    numbers = {
        rs.spec.template.spec.containers[0].image: revisions.revision_of(rs)
        for rs in world.all(apps_pb2.ReplicaSet)
    }
    assert numbers == {"v1": 1, "v2": 2, "v3": 3}
    assert world.deployment.metadata.annotations[REVISION] == "3"


def test_going_back_to_an_old_template_takes_its_replica_set_again():
    world = settled()
    first = world.new.metadata.uid
    world.set_image("v2")
    world.settle()
    world.set_image("v1")
    world.settle()
    assert world.new.metadata.uid == first
    assert revisions.revision_of(world.new) == 3
    assert world.new.metadata.annotations[revisions.REVISION_HISTORY_ANNOTATION] == "1"
    assert world.deployment.metadata.annotations[REVISION] == "3"
    assert world.sizes() == {"v1": 3, "v2": 0}


def test_the_history_is_cut_to_its_limit():
    world = DeploymentWorld()
    world.edit(revision_history_limit=2)
    for number in range(6):
        world.set_image(f"v{number}")
        world.settle()
    assert sorted(world.sizes()) == ["v3", "v4", "v5"]


def test_annotations_reach_the_new_replica_set_but_not_the_applied_manifest():
    world = settled()

    def annotate(web: apps_pb2.Deployment) -> None:
        web.metadata.annotations["kubernetes.io/change-cause"] = "because"
        web.metadata.annotations[revisions.LAST_APPLIED_ANNOTATION] = "{}"

    world.change(world.deployment, annotate)
    world.settle()
    assert world.new.metadata.annotations["kubernetes.io/change-cause"] == "because"
    assert revisions.LAST_APPLIED_ANNOTATION not in world.new.metadata.annotations


def test_a_taken_name_leads_to_another():
    world = DeploymentWorld()
    squatter = revisions.new_replica_set(world.deployment)
    squatter.metadata.ClearField("owner_references")
    squatter.metadata.ClearField("labels")
    squatter.spec.replicas = 0
    world.put(squatter)
    world.settle()
    assert world.deployment.status.collision_count == 1
    assert len(world.active()) == 3
    assert len(world.all(apps_pb2.ReplicaSet)) == 2


def test_a_matching_orphan_is_adopted():
    world = DeploymentWorld(replicas=2)
    orphan = replica_set("orphan", replicas=2)
    orphan.metadata.labels["app"] = "web"
    world.put(orphan)
    world.settle()
    assert world.sizes() == {"v1": 2}
    assert world.new.metadata.name == "orphan"


def test_a_deployment_that_is_being_deleted_does_nothing():
    world = DeploymentWorld()
    web = copy.deepcopy(world.deployment)
    web.metadata.deletion_timestamp.seconds = world.now
    world.put(web)
    assert not world.step().operations


def test_a_rollout_that_stands_still_fails_after_its_deadline():
    world = settled()
    world.set_image("broken")
    world.settle(run_pods=False)
    assert world.condition("Progressing")[0] == "True"
    decision = world.deployment_decision()
    assert decision.again_after is not None
    assert 600 <= decision.again_after <= 602
    world.now += 602
    world.settle(run_pods=False)
    assert world.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    assert world.deployment_decision().again_after is None


def test_progress_moves_the_deadline():
    world = settled(replicas=3, surge=1, unavailable=0)
    world.set_image("v2")
    world.settle(run_pods=False)
    world.now += 599
    new = [pod for pod in world.active() if pod.spec.containers[0].image == "v2"]
    for pod in new * 2:
        current = next(other for other in world.active() if other.metadata.uid == pod.metadata.uid)
        world.advance_pod(current, "n1")
    world.settle(run_pods=False)
    world.now += 10
    world.settle(run_pods=False)
    assert world.condition("Progressing") == ("True", "ReplicaSetUpdated")


def test_the_new_rollout_is_announced():
    world = settled()
    world.set_image("v2")
    world.step()
    world.step()
    assert world.condition("Progressing") == ("True", "NewReplicaSetCreated")
    world.settle()
    world.set_image("v1")
    world.step()
    world.step()
    assert world.condition("Progressing") == ("True", "FoundNewReplicaSet")


def test_a_pod_that_dies_later_is_no_rollout():
    world = settled(replicas=2, surge=1, unavailable=0)
    world.crash(world.active()[0])
    world.step_replica_sets()
    world.settle(run_pods=False)
    assert world.condition("Available") == ("False", "MinimumReplicasUnavailable")
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_new_minimum_of_seconds_reaches_the_replica_set():
    world = settled()
    world.edit(min_ready_seconds=7)
    world.settle(run_pods=False)
    assert world.new.spec.min_ready_seconds == 7
    assert world.condition("Available") == ("False", "MinimumReplicasUnavailable")
    world.now += 7
    world.settle(run_pods=False)
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")
