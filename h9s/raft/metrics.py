"""What consensus reports to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

LEADER_CHANGES = Counter(
    "h9s_raft_role_changes_total", "How often this replica's role, leader or term changed", registry=REGISTRY
)
APPLIED_ENTRIES = Counter("h9s_raft_applied_entries_total", "Log entries applied", registry=REGISTRY)
GROUP_SIZE = Histogram(
    "h9s_raft_group_size",
    "Transactions committed together in one log entry",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
    registry=REGISTRY,
)
SYNC_SECONDS = Histogram(
    "h9s_raft_journal_sync_seconds",
    "How long the disk took to make the journal durable",
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
SENT_BYTES = Counter("h9s_raft_sent_bytes_total", "Sent to other replicas", ["replica"], registry=REGISTRY)
RECEIVED_BYTES = Counter(
    "h9s_raft_received_bytes_total", "Received from other replicas", ["replica"], registry=REGISTRY
)
CONNECTIONS = Counter(
    "h9s_raft_connections_total", "Connections made with other replicas", ["replica"], registry=REGISTRY
)
SNAPSHOTS = Counter("h9s_raft_snapshots_total", "Snapshots taken by this replica", registry=REGISTRY)
BYTES = Gauge("h9s_store_bytes", "How large the store's parts are", ["part"], registry=REGISTRY)
PENDING_WRITES = Gauge(
    "h9s_store_pending_writes", "Writes that wait for others to be replicated", registry=REGISTRY
)
REMEMBERED_REQUESTS = Gauge(
    "h9s_store_remembered_requests", "Request ids whose outcome is remembered", registry=REGISTRY
)
DISK_FREE_BYTES = Gauge("h9s_store_disk_free_bytes", "Free space on the replica's disk", registry=REGISTRY)
DISK_IS_SHORT = Gauge(
    "h9s_store_disk_is_short", "1 while writes that add data are refused for want of space", registry=REGISTRY
)
