"""The apiserver's metrics, all of them: what is counted, and under which names."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from h9s.metrics import LATENCY_BUCKETS, REGISTRY

REQUEST_SECONDS = Histogram(
    "h9s_apiserver_request_seconds",
    "How long calls took, streams included.",
    ("method", "code"),
    buckets=LATENCY_BUCKETS,
    registry=REGISTRY,
)
COMMITS = Counter(
    "h9s_apiserver_commits", "Commits by result: OK or the error's reason.", ("result",), registry=REGISTRY
)
COMMITS_OK = COMMITS.labels("OK")
REDECISIONS = Counter(
    "h9s_apiserver_redecisions", "Decisions made again because the state had moved on.", registry=REGISTRY
)
SETTLEMENTS = Counter(
    "h9s_apiserver_settlements",
    "Errors that the log confirmed before they were reported.",
    registry=REGISTRY,
)
REPLAYS = Counter(
    "h9s_apiserver_replays", "Retries that were answered with the first attempt's result.", registry=REGISTRY
)
COMMITS_UNDER_WAY = Gauge(
    "h9s_apiserver_commits_under_way", "Commits that are not done yet.", registry=REGISTRY
)
WATCHERS = Gauge("h9s_apiserver_watchers", "Watches being served.", registry=REGISTRY)
WATCH_EVENTS = Counter("h9s_apiserver_watch_events", "Events sent to watchers.", registry=REGISTRY)
LISTED_OBJECTS = Counter("h9s_apiserver_listed_objects", "Objects sent in lists.", registry=REGISTRY)
HEARTBEATS = Counter("h9s_apiserver_heartbeats", "Heartbeats of nodes received.", registry=REGISTRY)
NODES_ALIVE = Gauge("h9s_apiserver_nodes_alive", "Nodes within their grace period.", registry=REGISTRY)
