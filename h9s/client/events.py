"""Events: what components tell users about objects, without ever holding the component up.

Recording only notes the event down; writing happens in the background, in batches. Repeats of one
event (same object, type, reason and message) raise its count instead of making another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from h9s._pb import core_pb2, meta_pb2
from h9s.api.kinds import ApiObject
from h9s.api.objects import ref
from h9s.client import metrics
from h9s.client import operations as ops
from h9s.client.client import Client
from h9s.client.retry import DEFAULT_POLICY, Backoff, is_retriable
from h9s.clock import now_timestamp
from h9s.errors import AlreadyExistsError, H9sError, NotFoundError

logger = logging.getLogger(__name__)

#: Where events about cluster-scoped objects are written.
_FALLBACK_NAMESPACE = "default"
_BATCH = 100

EventSeverity: TypeAlias = Literal["Normal", "Warning"]


@dataclass
class _Series:
    """One event and its repeats."""

    event: core_pb2.Event
    stored: bool = False


class EventRecorder:
    """Records events of one component. `run` writes them; without it they only pile up to `capacity`."""

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        host: str = "",
        capacity: int = 1000,
        remembered: int = 4096,
        interval: float = 0.5,
    ) -> None:
        """`capacity`: how many events may wait to be written; more are dropped, and counted.
        `remembered`: for how many different events repeats are recognised. `interval`: seconds
        between writes."""
        self._client = client
        self._source = core_pb2.EventSource(component=component, host=host)
        self._component = component
        self._capacity = capacity
        self._remembered = remembered
        self._interval = interval
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._unwritten: dict[tuple[str, ...], _Series] = {}
        self._wakeup = asyncio.Event()
        self._written = metrics.EVENTS_RECORDED.labels(component)

    def record(self, obj: ApiObject, type: EventSeverity, reason: str, message: str) -> None:  # noqa: A002
        """Something happened to `obj`. Returns at once and never fails."""
        about = ref(obj)
        key = (about.uid or f"{about.kind}/{about.namespace}/{about.name}", type, reason, message)
        if key not in self._unwritten and len(self._unwritten) >= self._capacity:
            metrics.EVENTS_DROPPED.labels(self._component, "full").inc()
            return
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(self._new_event(about, type, reason, message))
            while len(self._series) > self._remembered:
                self._series.popitem(last=False)
        self._series.move_to_end(key)
        series.event.count += 1
        series.event.last_timestamp.CopyFrom(now_timestamp(self._client.clock))
        self._unwritten[key] = series
        self._wakeup.set()

    async def run(self) -> NoReturn:
        """Write what is recorded until cancelled, however long the apiservers are away."""
        backoff = Backoff(DEFAULT_POLICY, self._client.rng)
        while True:
            await self._wakeup.wait()
            try:
                await self.flush()
                backoff.reset()
                await asyncio.sleep(self._interval)
            except H9sError as error:
                logger.warning("events wait to be written: %s", error.message)
                await asyncio.sleep(backoff.next())

    async def flush(self) -> None:
        """Write everything recorded so far. Raises H9sError where the apiservers are away; nothing is
        lost then. Events that an apiserver refuses are dropped, and counted."""
        self._wakeup.clear()
        while self._unwritten:
            keys = list(self._unwritten)[:_BATCH]
            batch = {key: self._unwritten.pop(key) for key in keys}
            try:
                await self._write(list(batch.values()))
            except BaseException:
                self._unwritten = batch | self._unwritten
                self._wakeup.set()
                raise

    async def _write(self, batch: list[_Series]) -> None:
        """Write the batch in one transaction, without those that an apiserver refuses."""
        while batch:
            operations = [ops.update(s.event) if s.stored else ops.create(s.event) for s in batch]
            try:
                await self._client.commit(operations)
            except H9sError as error:
                if is_retriable(error):
                    raise
                batch = self._mend(batch, error)
            else:
                for series in batch:
                    series.stored = True
                self._written.inc(len(batch))
                return

    def _mend(self, batch: list[_Series], error: H9sError) -> list[_Series]:
        """The part of a refused batch that may succeed, given why it was refused."""
        if error.operation is None:
            self._drop(batch, error)
            return []
        series = batch[error.operation]
        if series.stored and isinstance(error, NotFoundError):
            series.stored = False
        elif not series.stored and isinstance(error, AlreadyExistsError):
            series.event.metadata.name = self._new_name(series.event.involved_object.name)
        else:
            self._drop([series], error)
            return [other for other in batch if other is not series]
        return batch

    def _drop(self, refused: list[_Series], error: H9sError) -> None:
        logger.info("%d events were refused: %s", len(refused), error.message)
        metrics.EVENTS_DROPPED.labels(self._component, error.reason).inc(len(refused))

    def _new_event(
        self, about: meta_pb2.ObjectReference, severity: str, reason: str, message: str
    ) -> core_pb2.Event:
        return core_pb2.Event(
            metadata=meta_pb2.ObjectMeta(
                name=self._new_name(about.name), namespace=about.namespace or _FALLBACK_NAMESPACE
            ),
            involved_object=about,
            reason=reason,
            message=message,
            source=self._source,
            type=severity,
            first_timestamp=now_timestamp(self._client.clock),
        )

    def _new_name(self, name: str) -> str:
        return f"{name[:200]}.{self._client.rng.getrandbits(64):016x}"
