"""A world with one Deployment, its controller and that of its ReplicaSets, to be run step by step."""

from __future__ import annotations

import copy
import random
from typing import Any

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.api import conditions, int_or_string, pods
from h9s.controllers.decision import Decision
from h9s.controllers.deployment import decide as deployments
from h9s.controllers.deployment.revisions import find_new
from h9s.controllers.deployment.rollout import Limits, limits_of
from h9s.controllers.replica_set import decide as replica_sets
from h9s.errors import H9sError
from tests.unit.controllers.world import World, pod_template, set_ready

Op = api_pb2.Operation


class DeploymentWorld(World):
    """The Deployment is `web` in namespace `default`."""

    def __init__(
        self, replicas: int = 3, *, surge: int | str = "25%", unavailable: int | str = "25%"
    ) -> None:
        super().__init__()
        rolling = apps_pb2.RollingUpdateDeployment(
            max_surge=int_or_string.of(surge), max_unavailable=int_or_string.of(unavailable)
        )
        self.put(
            apps_pb2.Deployment(
                metadata=meta_pb2.ObjectMeta(name="web", generation=1),
                spec=apps_pb2.DeploymentSpec(
                    replicas=replicas,
                    selector=meta_pb2.LabelSelector(match_labels={"app": "web"}),
                    template=pod_template(),
                    strategy=apps_pb2.DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
                    revision_history_limit=10,
                    progress_deadline_seconds=600,
                ),
            )
        )

    # -- reading

    @property
    def deployment(self) -> apps_pb2.Deployment:
        found = self.get(apps_pb2.Deployment, "web")
        assert found is not None
        return found

    @property
    def limits(self) -> Limits:
        return limits_of(self.deployment)

    @property
    def new(self) -> apps_pb2.ReplicaSet:
        found = find_new(self.deployment, self.all(apps_pb2.ReplicaSet))
        assert found is not None
        return found

    def sizes(self) -> dict[str, int]:
        """Replicas asked for, by image."""
        return {
            rs.spec.template.spec.containers[0].image: rs.spec.replicas
            for rs in self.all(apps_pb2.ReplicaSet)
        }

    def active(self) -> list[core_pb2.Pod]:
        return [pod for pod in self.all(core_pb2.Pod) if pods.is_active(pod)]

    def available(self) -> int:
        return sum(pods.is_ready(pod) for pod in self.active())

    def condition(self, name: str) -> tuple[str, str]:
        found = conditions.get(self.deployment.status.conditions, name)
        return (found.status, found.reason) if found else ("", "")

    # -- users

    def edit(self, **spec: Any) -> None:
        def edit(web: apps_pb2.Deployment) -> None:
            for name, value in spec.items():
                setattr(web.spec, name, value)

        self.change(self.deployment, edit)

    def set_image(self, image: str) -> None:
        def edit(web: apps_pb2.Deployment) -> None:
            web.spec.template.spec.containers[0].image = image

        self.change(self.deployment, edit)

    def recreate(self) -> None:
        def edit(web: apps_pb2.Deployment) -> None:
            web.spec.strategy.type = "Recreate"
            web.spec.strategy.ClearField("rolling_update")

        self.change(self.deployment, edit)

    # -- controllers

    def deployment_decision(self, *, at: int = -1) -> Decision:
        web = self.get(apps_pb2.Deployment, "web", at=at)
        assert web is not None
        return deployments.decide(
            deployments.DeploymentSnapshot(
                deployment=web,
                replica_sets=tuple(self.all(apps_pb2.ReplicaSet, at=at)),
                pods=tuple(self.all(core_pb2.Pod, at=at)),
                now=self.now,
            )
        )

    def step(self) -> Decision:
        decision = self.deployment_decision()
        self.commit(decision.operations)
        return decision

    def step_replica_sets(self) -> bool:
        """One decision for each; whether there was anything to do."""
        busy = False
        for replica_set in self.all(apps_pb2.ReplicaSet):
            decision = self.replica_set_decision(replica_set.metadata.name)
            self.commit(decision.operations)
            busy |= bool(decision.operations)
        return busy

    def replica_set_decision(self, name: str, *, at: int = -1) -> Decision:
        found = self.get(apps_pb2.ReplicaSet, name, at=at)
        if found is None:
            return Decision()
        seen = tuple(self.all(core_pb2.Pod, at=at))
        return replica_sets.decide(replica_sets.ReplicaSetSnapshot(found, seen, now=self.now))

    def try_commit(self, decision: Decision) -> bool:
        """Whether it went through."""
        try:
            self.commit(decision.operations)
        except H9sError:
            return False
        return bool(decision.operations)

    def settle(self, *, run_pods: bool = True, limit: int = 300) -> None:
        """Everybody works until nothing is left to do."""
        rng = random.Random(0)
        for _ in range(limit):
            before = self.revision
            self.step()
            self.step_replica_sets()
            if run_pods:
                self.run_pods(rng, eager=True)
            if self.revision == before:
                return
        raise AssertionError("it does not settle")

    # -- faults

    def crash(self, pod: core_pb2.Pod) -> None:
        """The pod is no longer ready, and does not become so again by itself."""
        changed = copy.deepcopy(pod)
        set_ready(changed, now=self.now, ready=False)
        self.put(changed)

    def images(self) -> set[str]:
        """Of all pods that may still run something."""
        return {pod.spec.containers[0].image for pod in self.all(core_pb2.Pod) if not pods.is_terminal(pod)}
