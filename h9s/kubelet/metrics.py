"""What the howbelet counts, on the process's one registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

POD_START_SECONDS = Histogram(
    "h9s_kubelet_pod_start_seconds",
    "Time from the first sight of a pod until all its containers run.",
    buckets=(*LATENCY_BUCKETS, 20.0, 60.0),
    registry=REGISTRY,
)
CONTAINER_RESTARTS = Counter(
    "h9s_kubelet_container_restarts_total", "Containers started again after they ended.", registry=REGISTRY
)
PODS = Gauge("h9s_kubelet_pods", "Pods that have a worker.", registry=REGISTRY)
RUNNING_PODS = Gauge(
    "h9s_kubelet_running_pods", "Pods of which at least one container runs.", registry=REGISTRY
)
RUNNING_CONTAINERS = Gauge("h9s_kubelet_running_containers", "Containers that run.", registry=REGISTRY)
OPERATION_SECONDS = Histogram(
    "h9s_kubelet_runtime_operation_seconds",
    "Time that the container runtime took.",
    ["operation"],
    buckets=(*LATENCY_BUCKETS, 30.0, 120.0),
    registry=REGISTRY,
)
OPERATION_ERRORS = Counter(
    "h9s_kubelet_runtime_operation_errors_total",
    "Operations that the container runtime failed.",
    ["operation", "reason"],
    registry=REGISTRY,
)
STATUS_QUEUE_LENGTH = Gauge(
    "h9s_kubelet_status_queue_length", "Pod statuses that the API does not have yet.", registry=REGISTRY
)
HEARTBEAT_FAILURES = Counter(
    "h9s_kubelet_heartbeat_failures_total", "Heartbeats that no leader took.", registry=REGISTRY
)
