"""The client of h9s's API, and what control loops are made of."""

from h9s.client import operations
from h9s.client.batching import BatchingClient
from h9s.client.client import Client
from h9s.client.election import LeaderElection, LeaseTimings
from h9s.client.events import EventRecorder
from h9s.client.informer import Informer
from h9s.client.joining import join
from h9s.client.results import EventType, Listing, WatchBatch, WatchEvent
from h9s.client.retry import Backoff, RetryPolicy
from h9s.client.work_queue import WorkQueue

__all__ = [
    "Backoff",
    "BatchingClient",
    "Client",
    "EventRecorder",
    "EventType",
    "Informer",
    "LeaderElection",
    "LeaseTimings",
    "Listing",
    "RetryPolicy",
    "WatchBatch",
    "WatchEvent",
    "WorkQueue",
    "join",
    "operations",
]
