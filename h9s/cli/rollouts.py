"""What a Deployment's rollout is doing and has done. Pure.

Revisions are ReplicaSets: each carries its number in an annotation, the Deployment the number of its
newest. The annotations' names are Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from h9s._pb import apps_pb2, core_pb2
from h9s.api import conditions
from h9s.api.owners import controlled_by
from h9s.cli.session import CommandError

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH = "pod-template-hash"


@dataclass(frozen=True)
class Progress:
    """Where a rollout stands, in words."""

    message: str
    done: bool


def progress(deployment: apps_pb2.Deployment) -> Progress:
    """Raises CommandError when the rollout has exceeded its deadline."""
    name, status = deployment.metadata.name, deployment.status
    wanted = deployment.spec.replicas
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if deployment.metadata.generation > status.observed_generation:
        return Progress(f'Waiting for deployment "{name}" spec update to be observed...', done=False)
    progressing = conditions.get(status.conditions, "Progressing")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        raise CommandError(f'deployment "{name}" exceeded its progress deadline')
    if status.updated_replicas < wanted:
        text = f"{status.updated_replicas} out of {wanted} new replicas have been updated..."
        return Progress(waiting + text, done=False)
    if status.replicas > status.updated_replicas:
        text = f"{status.replicas - status.updated_replicas} old replicas are pending termination..."
        return Progress(waiting + text, done=False)
    if status.available_replicas < status.updated_replicas:
        text = f"{status.available_replicas} of {status.updated_replicas} updated replicas are available..."
        return Progress(waiting + text, done=False)
    return Progress(f'deployment "{name}" successfully rolled out', done=True)


def revision_of(replica_set: apps_pb2.ReplicaSet) -> int:
    """Its number; 0 where it has none."""
    text = replica_set.metadata.annotations.get(REVISION) or ""
    return int(text) if text.isascii() and text.isdigit() else 0


def history(
    deployment: apps_pb2.Deployment, replica_sets: Sequence[apps_pb2.ReplicaSet]
) -> dict[int, apps_pb2.ReplicaSet]:
    """The Deployment's own ReplicaSets by revision, ascending."""
    own = [each for each in replica_sets if controlled_by(each, deployment) and revision_of(each)]
    return {revision_of(each): each for each in sorted(own, key=revision_of)}


def newest_replica_set(
    deployment: apps_pb2.Deployment, replica_sets: Sequence[apps_pb2.ReplicaSet]
) -> apps_pb2.ReplicaSet | None:
    """The one of the latest revision."""
    revisions = history(deployment, replica_sets)
    return revisions[max(revisions)] if revisions else None


def find_revision(
    deployment: apps_pb2.Deployment, replica_sets: Sequence[apps_pb2.ReplicaSet], revision: int
) -> apps_pb2.ReplicaSet:
    """The ReplicaSet of a revision; 0 means the one before the newest. Raises CommandError."""
    revisions = history(deployment, replica_sets)
    name = deployment.metadata.name
    if not revision and len(revisions) < 2:
        raise CommandError(f'deployment "{name}" has no earlier revision to go back to')
    wanted = revision or sorted(revisions)[-2]
    if wanted not in revisions:
        known = ", ".join(map(str, revisions)) or "none"
        raise CommandError(f'deployment "{name}" has no revision {wanted}; there are: {known}')
    return revisions[wanted]


def template_of(replica_set: apps_pb2.ReplicaSet) -> core_pb2.PodTemplateSpec:
    """The pod template as the Deployment had it: without the label that tells revisions apart."""
    template = core_pb2.PodTemplateSpec()
    template.CopyFrom(replica_set.spec.template)
    if TEMPLATE_HASH in template.metadata.labels:
        del template.metadata.labels[TEMPLATE_HASH]
    return template
