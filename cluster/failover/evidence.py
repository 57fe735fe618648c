"""What was seen while leaders were killed. Plain data; collected elsewhere, judged in `verdict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Acknowledgement:
    """A write that the cluster said is done. `write` is the writer's own name for it, unique in the run;
    `object_name` is the name that the cluster gave the object. Times are monotonic seconds."""

    write: str
    object_name: str
    revision: int
    started: float
    acknowledged: float


@dataclass(frozen=True)
class WatchedEvent:
    """An event as the watcher got it: `kind` is ADDED, MODIFIED or DELETED."""

    kind: str
    object_name: str
    revision: int


@dataclass(frozen=True)
class StoredObject:
    """An object that is there at the end. `write` says which write made it."""

    name: str
    write: str
    create_revision: int


@dataclass(frozen=True)
class ContainerRun:
    """One container at one moment: its runtime id and how often it was restarted."""

    container_id: str
    restarts: int


@dataclass(frozen=True)
class Round:
    """One killing. `killed` is when the leader got SIGKILL, in monotonic seconds."""

    leader_id: str
    killed: float
    successor_id: str


@dataclass(frozen=True)
class Evidence:
    """Everything about one run. Containers by pod uid and container name."""

    rounds: tuple[Round, ...] = ()
    acknowledged: tuple[Acknowledgement, ...] = ()
    #: Writes that were asked for and whose answer never came, although asked for until the end.
    unanswered: tuple[str, ...] = ()
    stored: tuple[StoredObject, ...] = ()
    watched: tuple[WatchedEvent, ...] = ()
    containers_before: Mapping[tuple[str, str], ContainerRun] = field(default_factory=dict)
    containers_after: Mapping[tuple[str, str], ContainerRun] = field(default_factory=dict)
