"""What an object means where it says nothing: Kubernetes' defaults for the fields that h9s has.

Runs on the leader before every commit, so it touches only what a kind needs. Idempotent: defaulting
twice changes nothing more. What is wrong is left as it is, for validation to name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from h9s._pb import apps_pb2, core_pb2
from h9s.api import int_or_string, pods, quantity
from h9s.api.kinds import ApiObject
from h9s.errors import InvalidError

if TYPE_CHECKING:
    from google.protobuf.internal.containers import ScalarMap

DEFAULT_GRACE_PERIOD_SECONDS = 30
NAMESPACE_FINALIZER = "kubernetes"
NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"


def set_defaults(message: ApiObject) -> None:
    """Fill in, in place, what the object leaves open."""
    setter = _SETTERS.get(type(message))
    if setter is not None:
        setter(message)


@lru_cache(maxsize=4096)
def default_pull_policy(image: str) -> str:
    """Always for a tag that moves (`latest`, or none), IfNotPresent for any other tag or a digest."""
    name, at, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or at) else "IfNotPresent"


def _namespace(namespace: core_pb2.Namespace) -> None:
    metadata = namespace.metadata
    # Selectors can so name a namespace; the label always tells the truth.
    if metadata.labels.get(NAMESPACE_NAME_LABEL) != metadata.name:
        metadata.labels[NAMESPACE_NAME_LABEL] = metadata.name
    # Without finalizers while it is being deleted, it is about to go: they must not come back.
    if not namespace.spec.finalizers and not metadata.HasField("deletion_timestamp"):
        namespace.spec.finalizers.append(NAMESPACE_FINALIZER)
    if not namespace.status.phase:
        namespace.status.phase = "Active"


def _node(node: core_pb2.Node) -> None:
    status = node.status
    if status.capacity:
        _canonical(status.capacity)
        if not status.allocatable:
            status.allocatable.MergeFrom(status.capacity)
    if status.allocatable:
        _canonical(status.allocatable)


def _pod(pod: core_pb2.Pod) -> None:
    spec = pod.spec
    _pod_spec(spec)
    for container in spec.containers:
        if container.HasField("resources"):
            resources = container.resources
            for name, limit in resources.limits.items():
                if name not in resources.requests:
                    resources.requests[name] = limit
    status = pod.status
    if not status.phase:
        status.phase = pods.PENDING
    if not status.qos_class:
        try:
            status.qos_class = pods.qos_class(pod)
        except InvalidError:
            # A quantity that is none: validation names it with its path.
            return


def _pod_spec(spec: core_pb2.PodSpec) -> None:
    if not spec.restart_policy:
        spec.restart_policy = "Always"
    if not spec.HasField("termination_grace_period_seconds"):
        spec.termination_grace_period_seconds = DEFAULT_GRACE_PERIOD_SECONDS
    for container in spec.containers:
        if not container.image_pull_policy:
            container.image_pull_policy = default_pull_policy(container.image)
        for port in container.ports:
            if not port.protocol:
                port.protocol = "TCP"
        for variable in container.env:
            if variable.HasField("value_from") and variable.value_from.HasField("field_ref"):
                field_ref = variable.value_from.field_ref
                field_ref.api_version = field_ref.api_version or "v1"
        if container.HasField("resources"):
            _canonical(container.resources.limits)
            _canonical(container.resources.requests)


def _replica_set(replica_set: apps_pb2.ReplicaSet) -> None:
    spec = replica_set.spec
    if not spec.HasField("replicas"):
        spec.replicas = 1
    _pod_spec(spec.template.spec)


def _deployment(deployment: apps_pb2.Deployment) -> None:
    spec = deployment.spec
    if not spec.HasField("replicas"):
        spec.replicas = 1
    strategy = spec.strategy
    if not strategy.type:
        strategy.type = "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update
        if rolling.max_unavailable.WhichOneof("value") is None:
            rolling.max_unavailable.CopyFrom(int_or_string.of("25%"))
        if rolling.max_surge.WhichOneof("value") is None:
            rolling.max_surge.CopyFrom(int_or_string.of("25%"))
    if not spec.HasField("revision_history_limit"):
        spec.revision_history_limit = 10
    if not spec.HasField("progress_deadline_seconds"):
        spec.progress_deadline_seconds = 600
    _pod_spec(spec.template.spec)


def _canonical(quantities: ScalarMap[str, str]) -> None:
    """Write equal amounts equally, so that `1000m` for `1` is no change."""
    for name, text in list(quantities.items()):
        try:
            canonical = quantity.canonical(text)
        except InvalidError:
            # Left as it is: validation names it with its path.
            continue
        if canonical != text:
            quantities[name] = canonical


_SETTERS: dict[type[ApiObject], Callable[[Any], None]] = {
    core_pb2.Namespace: _namespace,
    core_pb2.Node: _node,
    core_pb2.Pod: _pod,
    apps_pb2.ReplicaSet: _replica_set,
    apps_pb2.Deployment: _deployment,
}
