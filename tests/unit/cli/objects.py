"""Objects as a cluster would have them."""

from __future__ import annotations

from collections.abc import Mapping

from h9s._pb import apps_pb2, core_pb2
from tests.unit.cli.fake_cluster import START


def pod(
    name: str = "web",
    *,
    namespace: str = "default",
    phase: str = "Running",
    ready: bool = True,
    node: str = "n1",
    labels: Mapping[str, str] | None = None,
    containers: tuple[str, ...] = ("app",),
) -> core_pb2.Pod:
    result = core_pb2.Pod()
    result.metadata.name, result.metadata.namespace = name, namespace
    result.metadata.uid = f"uid-{namespace}-{name}"
    result.metadata.creation_timestamp.seconds = START - 192
    result.metadata.labels.update(labels or {})
    result.spec.node_name = node
    result.status.phase = phase
    result.status.pod_ip = "127.1.0.2"
    for container in containers:
        result.spec.containers.add(name=container, image="busybox:1")
        status = result.status.container_statuses.add(name=container, ready=ready)
        if phase == "Running":
            status.state.running.started_at.seconds = START - 190
    condition = result.status.conditions.add(type="Ready", status="True" if ready else "False")
    condition.last_transition_time.seconds = START - 180
    return result


def deployment(name: str = "web", *, replicas: int = 3, image: str = "web:1") -> apps_pb2.Deployment:
    result = apps_pb2.Deployment()
    result.metadata.name, result.metadata.namespace = name, "default"
    result.metadata.uid = f"uid-deployment-{name}"
    result.metadata.generation = 1
    result.spec.replicas = replicas
    result.spec.selector.match_labels["app"] = name
    result.spec.template.metadata.labels["app"] = name
    result.spec.template.spec.containers.add(name="app", image=image)
    status = result.status
    status.observed_generation = 1
    status.replicas = status.updated_replicas = status.ready_replicas = status.available_replicas = replicas
    return result


def replica_set(
    owner: apps_pb2.Deployment, *, revision: int, image: str = "web:1", replicas: int = 0
) -> apps_pb2.ReplicaSet:
    result = apps_pb2.ReplicaSet()
    result.metadata.name = f"{owner.metadata.name}-r{revision}"
    result.metadata.namespace = owner.metadata.namespace
    result.metadata.uid = f"uid-{result.metadata.name}"
    result.metadata.labels["app"] = owner.metadata.name
    result.metadata.annotations["deployment.kubernetes.io/revision"] = str(revision)
    result.metadata.owner_references.add(
        api_version="apps/v1",
        kind="Deployment",
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
    )
    result.spec.replicas = result.status.replicas = replicas
    result.spec.selector.match_labels.update(
        {"app": owner.metadata.name, "pod-template-hash": f"h{revision}"}
    )
    result.spec.template.metadata.labels.update(
        {"app": owner.metadata.name, "pod-template-hash": f"h{revision}"}
    )
    result.spec.template.spec.containers.add(name="app", image=image)
    return result


def node(name: str = "n1", *, ready: str = "True", unschedulable: bool = False) -> core_pb2.Node:
    result = core_pb2.Node()
    result.metadata.name = name
    result.metadata.uid = f"uid-{name}"
    result.metadata.creation_timestamp.seconds = START - 7200
    result.spec.unschedulable = unschedulable
    status = result.status
    status.capacity.update({"cpu": "2", "memory": "4Gi", "pods": "110"})
    status.allocatable.update({"cpu": "2", "memory": "4Gi", "pods": "110"})
    status.conditions.add(type="Ready", status=ready, reason="KubeletReady")
    status.addresses.add(type="InternalIP", address="10.0.0.5")
    status.daemon_endpoints.kubelet_endpoint.port = 7460
    info = status.node_info
    info.kubelet_version, info.container_runtime_version = "0.1.0", "docker://20.10"
    info.os_image, info.kernel_version = "Debian", "6.1"
    return result


def event(
    name: str,
    *,
    about: str = "web",
    kind: str = "Pod",
    reason: str = "Started",
    message: str = "Started container app",
    seconds_ago: int = 10,
    count: int = 1,
    type: str = "Normal",  # noqa: A002
) -> core_pb2.Event:
    result = core_pb2.Event()
    result.metadata.name, result.metadata.namespace = name, "default"
    result.involved_object.kind, result.involved_object.name = kind, about
    result.involved_object.namespace = "default"
    result.reason, result.message, result.type, result.count = reason, message, type, count
    result.first_timestamp.seconds = START - seconds_ago - 60 * (count - 1)
    result.last_timestamp.seconds = START - seconds_ago
    result.source.component, result.source.host = "howbelet", "n1"
    return result
