"""What the client counts, on the process's one registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

REQUEST_SECONDS = Histogram(
    "h9s_client_request_seconds",
    "Time from a call to its answer, all attempts included.",
    ["client", "method", "outcome"],
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
RETRIES = Counter(
    "h9s_client_retries_total",
    "Attempts that failed and were followed by another.",
    ["client", "method", "reason"],
    registry=REGISTRY,
)
REDIRECTS = Counter(
    "h9s_client_redirects_total",
    "Answers that named another server as the leader.",
    ["client"],
    registry=REGISTRY,
)
RECONNECTS = Counter(
    "h9s_client_reconnects_total",
    "Streams that were opened again, on the same server or another.",
    ["client", "method"],
    registry=REGISTRY,
)
OUTSTANDING_COMMITS = Gauge(
    "h9s_client_outstanding_commits",
    "Commits of a batching client that have no answer yet.",
    ["client"],
    registry=REGISTRY,
)

INFORMER_RELISTS = Counter(
    "h9s_informer_relists_total", "Full lists that an informer made.", ["client", "kind"], registry=REGISTRY
)
INFORMER_RECONNECTS = Counter(
    "h9s_informer_reconnects_total",
    "Watches that an informer had to start again.",
    ["client", "kind"],
    registry=REGISTRY,
)
INFORMER_OBJECTS = Gauge(
    "h9s_informer_objects", "Objects that an informer holds.", ["client", "kind"], registry=REGISTRY
)
INFORMER_REVISION = Gauge(
    "h9s_informer_revision", "The revision an informer has seen.", ["client", "kind"], registry=REGISTRY
)

QUEUE_DEPTH = Gauge("h9s_work_queue_depth", "Keys that wait for a worker.", ["queue"], registry=REGISTRY)
QUEUE_ADDS = Counter("h9s_work_queue_adds_total", "Keys added.", ["queue"], registry=REGISTRY)
QUEUE_RETRIES = Counter(
    "h9s_work_queue_retries_total", "Keys added again with back-off.", ["queue"], registry=REGISTRY
)
QUEUE_WAIT_SECONDS = Histogram(
    "h9s_work_queue_wait_seconds",
    "Time from adding a key to its worker.",
    ["queue"],
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
QUEUE_WORK_SECONDS = Histogram(
    "h9s_work_queue_work_seconds",
    "Time that a worker took for a key.",
    ["queue"],
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)

LEADING = Gauge("h9s_election_leading", "1 while this process holds the lease.", ["lease"], registry=REGISTRY)
LEADERSHIP_CHANGES = Counter(
    "h9s_election_transitions_total", "Leases gained and lost.", ["lease", "to"], registry=REGISTRY
)

EVENTS_RECORDED = Counter(
    "h9s_events_recorded_total", "Events written, repeats included.", ["component"], registry=REGISTRY
)
EVENTS_DROPPED = Counter(
    "h9s_events_dropped_total",
    "Events that were not written: the queue was full, or the apiserver refused them.",
    ["component", "reason"],
    registry=REGISTRY,
)
