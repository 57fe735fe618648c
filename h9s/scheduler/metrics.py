"""What the scheduler counts, on the process's one registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

ATTEMPTS = Counter(
    "h9s_scheduler_attempts_total",
    "Pods that were decided on: bound, unschedulable, conflict (something had changed), error.",
    ["result"],
    registry=REGISTRY,
)
PODS = Gauge(
    "h9s_scheduler_pods",
    "Pods without a node, by what they wait for: a round, a change, their binding.",
    ["state"],
    registry=REGISTRY,
)
ROUND_SECONDS = Histogram(
    "h9s_scheduler_round_seconds",
    "Time to place all pods that waited.",
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
BINDING_SECONDS = Histogram(
    "h9s_scheduler_binding_seconds",
    "Time from a decision to the answer of its commit.",
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
