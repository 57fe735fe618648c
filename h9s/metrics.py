"""Prometheus metrics: one registry per process, served over HTTP at /metrics.

Components declare their metrics in their own modules with `prometheus_client`'s types on
`REGISTRY`; this module only serves them.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from h9s.errors import UsageError

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

#: Bucket bounds, in seconds, for operations that should take milliseconds.
LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def serve_metrics(address: str) -> None:
    """Serve `REGISTRY` on "host:port" from a daemon thread. Raises UsageError if it cannot listen."""
    host, _, port = address.rpartition(":")
    try:
        start_http_server(int(port), addr=host, registry=REGISTRY)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot serve metrics on {address!r}: {error}") from error
