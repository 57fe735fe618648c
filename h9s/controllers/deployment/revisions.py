"""A Deployment's ReplicaSets as its history: which one runs the current template, and how they count.

Annotations and labels are Kubernetes' own, so that its tools read them too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

from h9s._pb import apps_pb2, core_pb2, meta_pb2
from h9s.api.hashing import template_hash
from h9s.api.owners import new_controller_ref

TEMPLATE_HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
REVISION_HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS_ANNOTATION = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

#: A Deployment's annotations that its ReplicaSets do not inherit: they have their own, or none.
_NOT_INHERITED = frozenset(
    {
        LAST_APPLIED_ANNOTATION,
        REVISION_ANNOTATION,
        REVISION_HISTORY_ANNOTATION,
        DESIRED_REPLICAS_ANNOTATION,
        MAX_REPLICAS_ANNOTATION,
    }
)


def by_age(replica_sets: Iterable[apps_pb2.ReplicaSet]) -> list[apps_pb2.ReplicaSet]:
    """Oldest first."""
    return sorted(
        replica_sets,
        key=lambda rs: (rs.metadata.creation_timestamp.seconds, revision_of(rs), rs.metadata.name),
    )


def find_new(
    deployment: apps_pb2.Deployment, replica_sets: Iterable[apps_pb2.ReplicaSet]
) -> apps_pb2.ReplicaSet | None:
    """The oldest ReplicaSet that runs the Deployment's template as it is now."""
    wanted = _without_hash(deployment.spec.template)
    for replica_set in by_age(replica_sets):
        if _without_hash(replica_set.spec.template) == wanted:
            return replica_set
    return None


def revision_of(replica_set: apps_pb2.ReplicaSet) -> int:
    """Its number in the history; 0 if it has none."""
    return _number(replica_set.metadata.annotations, REVISION_ANNOTATION) or 0


def desired_annotated(replica_set: apps_pb2.ReplicaSet) -> int | None:
    """How many replicas the Deployment had when it last sized this ReplicaSet."""
    return _number(replica_set.metadata.annotations, DESIRED_REPLICAS_ANNOTATION)


def maximum_annotated(replica_set: apps_pb2.ReplicaSet) -> int | None:
    """The same with the surge that was allowed."""
    return _number(replica_set.metadata.annotations, MAX_REPLICAS_ANNOTATION)


def new_replica_set(deployment: apps_pb2.Deployment) -> apps_pb2.ReplicaSet:
    """A ReplicaSet without replicas for the current template. Its name follows from the template."""
    metadata, spec = deployment.metadata, deployment.spec
    hashed = template_hash(spec.template, deployment.status.collision_count)
    replica_set = apps_pb2.ReplicaSet(
        metadata=meta_pb2.ObjectMeta(
            name=f"{metadata.name}-{hashed}",
            namespace=metadata.namespace,
            labels=spec.template.metadata.labels,
            owner_references=[new_controller_ref(deployment)],
        ),
        spec=apps_pb2.ReplicaSetSpec(
            replicas=0,
            min_ready_seconds=spec.min_ready_seconds,
            selector=spec.selector,
            template=spec.template,
        ),
    )
    for labels in (
        replica_set.metadata.labels,
        replica_set.spec.selector.match_labels,
        replica_set.spec.template.metadata.labels,
    ):
        labels[TEMPLATE_HASH_LABEL] = hashed
    return replica_set


def annotate_new(
    replica_set: apps_pb2.ReplicaSet,
    deployment: apps_pb2.Deployment,
    old: Sequence[apps_pb2.ReplicaSet],
) -> None:
    """Make the ReplicaSet of the current template the newest of the history, in place, with the
    Deployment's annotations. One that was the newest before keeps that in its own history."""
    annotations = replica_set.metadata.annotations
    for key in [key for key in annotations if key not in _NOT_INHERITED]:
        if key not in deployment.metadata.annotations:
            del annotations[key]
    for key, value in deployment.metadata.annotations.items():
        if key not in _NOT_INHERITED:
            annotations[key] = value
    current = revision_of(replica_set)
    newest = max(map(revision_of, old), default=0) + 1
    if current < newest:
        if current:
            history = annotations.get(REVISION_HISTORY_ANNOTATION)
            annotations[REVISION_HISTORY_ANNOTATION] = f"{history},{current}" if history else str(current)
        annotations[REVISION_ANNOTATION] = str(newest)


def annotate_size(replica_set: apps_pb2.ReplicaSet, *, desired: int, maximum: int) -> None:
    """Note for which size of the Deployment the ReplicaSet was sized, in place."""
    replica_set.metadata.annotations[DESIRED_REPLICAS_ANNOTATION] = str(desired)
    replica_set.metadata.annotations[MAX_REPLICAS_ANNOTATION] = str(maximum)


def _without_hash(template: core_pb2.PodTemplateSpec) -> core_pb2.PodTemplateSpec:
    if TEMPLATE_HASH_LABEL not in template.metadata.labels:
        return template
    plain = copy.deepcopy(template)
    del plain.metadata.labels[TEMPLATE_HASH_LABEL]
    return plain


def _number(annotations: Mapping[str, str], key: str) -> int | None:
    text = annotations.get(key) or ""
    return int(text) if text.isdecimal() else None
