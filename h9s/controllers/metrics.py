"""What the control loops count, on the process's one registry (queues count themselves)."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

COMMITS = Counter(
    "h9s_controller_commits_total",
    "Commits of a controller. Conflict: made on a state that had changed meanwhile, decided anew.",
    ["controller", "outcome"],
    registry=REGISTRY,
)
OPERATIONS = Counter(
    "h9s_controller_operations_total",
    "Operations in a controller's successful commits, by verb.",
    ["controller", "verb"],
    registry=REGISTRY,
)
DECISION_SECONDS = Histogram(
    "h9s_controller_decision_seconds",
    "Time that a controller took to decide.",
    ["controller"],
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
