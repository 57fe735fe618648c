"""The harness of all controllers: what wakes them, one key at a time, decide, commit.

A controller only says which changes concern which key, and what to do about a key; this carries it
out. Nothing here knows what any of them does.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from h9s._pb import api_pb2
from h9s.api.kinds import ApiObject
from h9s.api.objects import from_object
from h9s.client import Client, EventRecorder, WorkQueue
from h9s.client.cache import Cache, Collection
from h9s.client.retry import is_retriable
from h9s.controllers import metrics
from h9s.controllers.decision import Decision, Note, listed
from h9s.errors import AlreadyExistsError, ConflictError, H9sError, NotFoundError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

#: When to look at a key again after a conflict, in seconds, if the news of its cause do not come
#: earlier; doubles with each in a row.
CONFLICT_SECONDS = 0.05
_MAX_CONFLICT_DOUBLINGS = 6


@dataclass(frozen=True)
class Wake(Generic[K]):
    """Which keys need work when an object of the collection changes from `old` to `new` (None: it was
    not there, or is gone)."""

    collection: Collection[Any]
    keys: Callable[[Any, Any], Iterable[K]]


def either(keys_of: Callable[[Any], Iterable[K]]) -> Callable[[Any, Any], Iterable[K]]:
    """The keys of an object as it was and as it is."""

    def keys(old: Any, new: Any) -> Iterable[K]:
        found = [] if old is None else list(keys_of(old))
        return found if new is None else [*found, *keys_of(new)]

    return keys


class Controller(ABC, Generic[K]):
    """One control loop: keys, what wakes them, and what to do about each."""

    #: In metrics and logs.
    name: ClassVar[str]
    #: How many keys are worked on at a time.
    workers: ClassVar[int] = 4

    def wakes(self) -> Sequence[Wake[K]]:
        """What concerns it."""
        return ()

    def first_keys(self) -> Iterable[K]:
        """Keys to look at when it starts to lead, beside those of all objects there are."""
        return ()

    @abstractmethod
    async def decide(self, key: K) -> Decision:
        """What to do about a key. Must decide on one state of the cache: whatever it awaits comes
        before, or is read apart from the cache."""

    def about(self, key: K) -> ApiObject | None:
        """The object that is told by an event if a commit for the key is refused."""
        del key
        return None


class ControlLoop(Generic[K]):
    """One controller at work."""

    def __init__(
        self, controller: Controller[K], *, client: Client, cache: Cache, recorder: EventRecorder
    ) -> None:
        self.name = controller.name
        self._controller = controller
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._queue: WorkQueue[K] = WorkQueue(name=controller.name, clock=client.clock, rng=client.rng)
        #: Of keys' own last commits: a key is not decided on again before the cache has seen it.
        self._written: dict[K, int] = {}
        self._conflicts: Counter[K] = Counter()
        self._decision_seconds = metrics.DECISION_SECONDS.labels(controller.name)
        for wake in controller.wakes():
            wake.collection.add_handler(self._handler(wake))

    async def run(self) -> NoReturn:
        """Look at everything once, then at what changes, until cancelled. May be run again."""
        for wake in self._controller.wakes():
            for obj in wake.collection.items():
                for key in wake.keys(None, obj):
                    self._queue.add(key)
        for key in self._controller.first_keys():
            self._queue.add(key)
        await self._queue.work(self._reconcile, workers=self._controller.workers)

    def _handler(self, wake: Wake[K]) -> Callable[[Any, Any], None]:
        def on_change(old: Any, new: Any) -> None:
            for key in wake.keys(old, new):
                self._queue.add(key)

        return on_change

    async def _reconcile(self, key: K) -> float | None:
        await self._cache.reached(self._written.pop(key, 0))
        with self._decision_seconds.time():
            decision = await self._controller.decide(key)
        if not decision.operations:
            self._record(decision.notes, ())
            return decision.again_after
        try:
            response = await self._client.commit(decision.operations)
        except (ConflictError, NotFoundError, AlreadyExistsError) as error:
            logger.debug("%s: %s: decided on an old state: %s", self.name, key, error.message)
            metrics.COMMITS.labels(self.name, "Conflict").inc()
            self._conflicts[key] += 1
            return CONFLICT_SECONDS * 2.0 ** min(self._conflicts[key] - 1, _MAX_CONFLICT_DOUBLINGS)
        except H9sError as error:
            metrics.COMMITS.labels(self.name, error.reason).inc()
            self._report(key, error)
            raise
        del self._conflicts[key]
        self._written[key] = response.revision
        self._count(decision.operations)
        self._record(decision.notes, response.objects)
        return decision.again_after

    def _count(self, operations: Sequence[api_pb2.Operation]) -> None:
        metrics.COMMITS.labels(self.name, "OK").inc()
        for verb, count in Counter(operation.verb for operation in operations).items():
            metrics.OPERATIONS.labels(self.name, api_pb2.Operation.Verb.Name(verb)).inc(count)

    def _report(self, key: K, error: H9sError) -> None:
        """Tell users of an error that trying again will hardly mend."""
        about = None if is_retriable(error) else self._controller.about(key)
        if about is not None:
            self._recorder.record(about, "Warning", "ReconcileFailed", error.message)

    def _record(self, notes: Iterable[Note], written: Sequence[api_pb2.Object]) -> None:
        for note in notes:
            self._recorder.record(note.about, note.type, note.reason, _message(note, written))


def _message(note: Note, written: Sequence[api_pb2.Object]) -> str:
    names = [
        from_object(written[index]).metadata.name
        for index in note.operations
        if written[index].HasField("value")
    ]
    if not names:
        return note.message
    return f"{note.message}{'s' if len(names) > 1 else ''}: {listed(names)}"
