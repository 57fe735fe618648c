"""Carries Commits out: decide, propose, decide again where a decision's ground has shifted.

- A decision is made on the leader's applied state; the transaction's guards say what it relied on.
  If one of them fails that is not the client's own, nothing has happened: decide again.
- A decision that ends in an error may rest on a stale state, or come from the retry of a request
  that has succeeded. It is reported only after the replicated log has confirmed that the request was
  not executed; whatever is decided after that is decided on a state younger than the request.
- A second attempt that arrives while the first is still under way shares its result.

Runs on callbacks, without a task per Commit: thousands are under way at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, log_pb2
from h9s.apiserver import instruments
from h9s.apiserver.authentication import author_of
from h9s.apiserver.error_mapping import as_ours
from h9s.apiserver.refusals import error_of_failure
from h9s.apiserver.replay import old_results, replayed_results
from h9s.apiserver.transactions import (
    MAX_TRANSACTION_BYTES,
    Context,
    Decision,
    Refusal,
    Result,
    decide,
)
from h9s.clock import Clock
from h9s.errors import (
    H9sError,
    InternalError,
    InvalidError,
    NotLeaderError,
    RequestExpiredError,
    TimeoutExpiredError,
    TooLargeError,
    UnavailableError,
)
from h9s.pki import Identity
from h9s.store.model import Failure, FailureKind, Outcome
from h9s.store.protocol import Leadership, Store

#: A transaction of the largest size, and what the request adds around it.
MAX_REQUEST_BYTES = MAX_TRANSACTION_BYTES + 64 * 1024
_NONCE_BYTES = 16
_WATCHDOG_SECONDS = 0.1

#: No key has this revision: a transaction with this guard does nothing, but where its request id has
#: an outcome, it gives that.
_NEVER = log_pb2.Guard(key="", mod_revision=-1, client=False)


class Committed(NamedTuple):
    """A Commit that succeeded."""

    #: Of the transaction; the current one if it changed nothing.
    revision: int
    results: Sequence[Result]
    replayed: bool = False

    def write_to(self, response: api_pb2.CommitResponse) -> None:
        """Fill in the answer."""
        revision = self.revision
        response.revision = revision
        if self.replayed:
            response.replayed = True
        for type_url, value, create_revision, mod_revision in self.results:
            target = response.objects.add()
            if value:
                target.value.type_url = type_url
                target.value.value = value
                target.create_revision = create_revision or revision
                target.mod_revision = mod_revision or revision


class BulkStore(Store, Protocol):
    """A store that takes proposals without a coroutine each."""

    def submit(self, transaction: log_pb2.Transaction) -> asyncio.Future[Outcome]:
        """Like `propose`, without a deadline: resolves when the outcome is known or cannot be any more."""
        ...


Told = TypeVar("Told", Committed | None, H9sError)
OnDone: TypeAlias = Callable[[Committed | H9sError], None]


class Committer:
    """The way of all writes. `submit` is for many at once, `commit` for one."""

    def __init__(self, store: BulkStore, *, clock: Clock, rng: random.Random) -> None:
        self.store = store
        self.clock = clock
        self.rng = rng
        self._leadership = store.leadership()
        self._under_way: dict[bytes, _Attempt] = {}
        self._watchdog: asyncio.TimerHandle | None = None
        self._now = Timestamp()
        store.on_leadership_change(self._lead)
        instruments.COMMITS_UNDER_WAY.set_function(lambda: len(self._under_way))

    def submit(
        self, request: api_pb2.CommitRequest, caller: Identity, *, timeout: float, on_done: OnDone
    ) -> None:
        """Carry out the request and call `on_done` once, about `timeout` seconds from now at the latest.

        UnavailableError and TimeoutExpiredError leave its fate open until it is tried again; all other
        errors mean that nothing was done.
        """
        refusal = self._refusal(request)
        if refusal is not None:
            on_done(refusal)
            return
        if request.dry_run:
            trial = asyncio.ensure_future(self._try(request, caller, timeout=timeout))
            trial.add_done_callback(partial(_report, on_done))
            return
        deadline = self.clock.monotonic() + timeout
        earlier = self._under_way.get(request.request_id.nonce)
        if earlier is not None:
            earlier.join(on_done, deadline)
            return
        attempt = _Attempt(self, request, caller)
        attempt.join(on_done, deadline)
        self._under_way[attempt.seed] = attempt
        if self._watchdog is None:
            self._watchdog = asyncio.get_running_loop().call_later(_WATCHDOG_SECONDS, self._expire)
        attempt.go()

    def forget(self, attempt: _Attempt) -> None:
        """It is over."""
        del self._under_way[attempt.seed]

    async def commit(self, request: api_pb2.CommitRequest, caller: Identity, *, timeout: float) -> Committed:
        """Carry out one request. Raises what `submit` reports."""
        done: asyncio.Future[Committed | H9sError] = asyncio.get_running_loop().create_future()
        self.submit(request, caller, timeout=timeout, on_done=partial(_resolve, done))
        result = await done
        if isinstance(result, H9sError):
            raise result
        return result

    def decide(self, request: api_pb2.CommitRequest, caller: Identity, seed: bytes) -> Decision | Refusal:
        """Decide on the state as applied here and now."""
        second = int(self.clock.wall())
        if second != self._now.seconds:
            self._now = Timestamp(seconds=second)
        return decide(request.operations, self.store.view(), Context(caller, self._now, self.rng, seed))

    async def _try(self, request: api_pb2.CommitRequest, caller: Identity, *, timeout: float) -> Committed:
        """A dry run: everything but proposing."""
        await self.store.read_barrier(timeout=timeout)
        decision = self.decide(request, caller, request.request_id.nonce)
        if isinstance(decision, Refusal):
            raise decision.error
        return Committed(self.store.revision, decision.results)

    def _refusal(self, request: api_pb2.CommitRequest) -> H9sError | None:
        """Why the request cannot even be looked at."""
        if self._leadership.role != "leader":
            return not_leader(self._leadership)
        if request.ByteSize() > MAX_REQUEST_BYTES:
            return TooLargeError(
                f"the commit takes {request.ByteSize()} bytes; at most {MAX_TRANSACTION_BYTES} are possible"
            )
        if request.HasField("request_id") and len(request.request_id.nonce) != _NONCE_BYTES:
            return InvalidError(f"requestId.nonce must have {_NONCE_BYTES} bytes")
        return None

    def _expire(self) -> None:
        """Tell those who have waited long enough. One timer for all: there are thousands."""
        now = self.clock.monotonic()
        for attempt in list(self._under_way.values()):
            attempt.expire(now)
        self._watchdog = None
        if self._under_way:
            self._watchdog = asyncio.get_running_loop().call_later(_WATCHDOG_SECONDS, self._expire)

    def _lead(self, leadership: Leadership) -> None:
        self._leadership = leadership


def not_leader(leadership: Leadership) -> NotLeaderError:
    """The redirect to the replica that leads, as far as it is known."""
    if leadership.leader_id == leadership.replica_id:
        message = f"replica {leadership.replica_id} has only begun to lead: try again"
    elif leadership.leader_id:
        message = f"replica {leadership.replica_id} does not lead: {leadership.leader_id} does"
    else:
        message = f"replica {leadership.replica_id} does not lead, and knows of no leader"
    return NotLeaderError(message, leader_address=leadership.leader_api_address)


class _Attempt:
    """One request on its way."""

    __slots__ = ("_author", "_caller", "_committer", "_request", "_results", "_settled", "_waiting", "seed")

    def __init__(self, committer: Committer, request: api_pb2.CommitRequest, caller: Identity) -> None:
        self.seed = request.request_id.nonce or committer.rng.randbytes(_NONCE_BYTES)
        self._committer = committer
        self._request = request
        self._caller = caller
        self._author = author_of(caller)
        #: Who is to be told, and until when it waits.
        self._waiting: list[tuple[float, OnDone]] = []
        self._results: Sequence[Result] = ()
        #: The log has confirmed, after the request came in, that it was not executed.
        self._settled = False

    def join(self, on_done: OnDone, deadline: float) -> None:
        """Also tell this one the result."""
        self._waiting.append((deadline, on_done))

    def expire(self, now: float) -> None:
        """Let those go whose deadline has passed."""
        expired = [on_done for deadline, on_done in self._waiting if deadline <= now]
        if expired:
            self._waiting = [waiting for waiting in self._waiting if waiting[0] > now]
            error = TimeoutExpiredError("the commit is still under way at its deadline; its fate is open")
            for on_done in expired:
                on_done(error)

    def go(self) -> None:
        """Decide and propose."""
        try:
            decision = self._committer.decide(self._request, self._caller, self.seed)
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer
            self._finish(as_ours(error, doing="deciding on a commit"))
            return
        if isinstance(decision, Decision):
            self._results = decision.results
            self._propose(decision.transaction)
        elif decision.final or self._settled:
            self._finish(decision.error)
        else:
            instruments.SETTLEMENTS.inc()
            self._propose(log_pb2.Transaction(guards=(_NEVER,)))

    def _propose(self, transaction: log_pb2.Transaction) -> None:
        transaction.author = self._author
        if self._request.HasField("request_id"):
            transaction.request_id.CopyFrom(self._request.request_id)
        try:
            proposal = self._committer.store.submit(transaction)
        except H9sError as error:
            self._finish(error)
        else:
            proposal.add_done_callback(self._on_proposed)

    def _on_proposed(self, proposal: asyncio.Future[Outcome]) -> None:
        if proposal.cancelled():
            self._finish(UnavailableError("the replica is stopping"))
            return
        error = proposal.exception()
        if error is not None:
            if not isinstance(error, Exception):
                raise error
            self._finish(as_ours(error, doing="proposing a commit"))
            return
        outcome = proposal.result()
        if outcome.failure is None:
            if outcome.replayed:
                self._replay(outcome)
            else:
                self._finish(Committed(outcome.revision, self._results))
        elif outcome.failure.kind is not FailureKind.GUARD or outcome.failure.client:
            self._finish(self._told(partial(self._failed, outcome.failure)))
        elif self._waiting:
            if outcome.failure.key:
                instruments.REDECISIONS.inc()
            self._settled = True
            self.go()
        else:
            # Nobody waits any more, and nothing was done.
            self._committer.forget(self)

    def _told(self, tell: Callable[[], Told]) -> Told | H9sError:
        """What to answer. The outcome may be that of another commit, whose id this one has used again;
        its operations then say nothing of this one's, and telling it can fail."""
        try:
            return tell()
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer
            return as_ours(error, doing="telling a commit's outcome")

    def _replay(self, outcome: Outcome) -> None:
        """Tell what an earlier attempt did; where that has left the memory, from the archive."""
        instruments.REPLAYS.inc()
        told = self._told(partial(self._replayed, outcome))
        if told is not None:
            self._finish(told)
        else:
            looking = asyncio.ensure_future(self._replayed_long_ago(outcome))
            looking.add_done_callback(partial(_report, self._finish))

    def _replayed(self, outcome: Outcome) -> Committed | None:
        results = replayed_results(
            self._committer.store, self._request.operations, revision=outcome.revision, seed=self.seed
        )
        return None if results is None else Committed(outcome.revision, results, replayed=True)

    async def _replayed_long_ago(self, outcome: Outcome) -> Committed:
        operations, revision, seed = self._request.operations, outcome.revision, self.seed
        results = await self._committer.store.look_back(
            lambda past: old_results(past, operations, revision=revision, seed=seed)
        )
        return Committed(revision, results, replayed=True)

    def _failed(self, failure: Failure) -> H9sError:
        if failure.kind is FailureKind.GUARD:
            return error_of_failure(failure, self._request.operations)
        if failure.kind is FailureKind.EXPIRED:
            return RequestExpiredError(failure.message, server_time_ms=failure.now_ms)
        return InternalError(f"the store refused the transaction: {failure.message}")

    def _finish(self, result: Committed | H9sError) -> None:
        if isinstance(result, H9sError):
            instruments.COMMITS.labels(result.reason).inc()
        else:
            instruments.COMMITS_OK.inc()
        self._committer.forget(self)
        for _, on_done in self._waiting:
            on_done(result)


def _report(on_done: OnDone, trial: asyncio.Future[Committed]) -> None:
    """Call `on_done` with what came of it."""
    if trial.cancelled():
        on_done(UnavailableError("the replica is stopping"))
        return
    error = trial.exception()
    if error is None:
        on_done(trial.result())
    elif isinstance(error, Exception):
        on_done(as_ours(error, doing="answering a commit"))
    else:
        raise error


def _resolve(done: asyncio.Future[Committed | H9sError], result: Committed | H9sError) -> None:
    if not done.done():
        done.set_result(result)
