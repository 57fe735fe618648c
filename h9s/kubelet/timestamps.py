"""Between the seconds that decisions reckon with and the timestamps that objects carry."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(seconds: float) -> Timestamp:
    """A moment in whole seconds, as Kubernetes stamps its objects. `seconds` since 1970."""
    return Timestamp(seconds=int(seconds))


def seconds_of(moment: Timestamp) -> float:
    """Seconds since 1970."""
    return moment.seconds + moment.nanos / 1e9
