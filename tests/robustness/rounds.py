"""Rounds of traffic and faults on real replicas, each followed by every check there is."""

from __future__ import annotations

import asyncio
import random
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from h9s._pb import core_pb2
from h9s.clock import SystemClock
from h9s.sim.ledger import Ledger, LedgerChange
from h9s.sim.linearizability import check
from h9s.sim.revision_checks import (
    old_reads_match_history,
    outcomes_match_history,
    requests_have_one_outcome,
    revisions_follow_time,
    writes_happened_once,
)
from h9s.sim.watch_checks import SeenWatch, check_watches
from tests.robustness.faults import Faults
from tests.robustness.replicas import PATIENCE_SECONDS, ReplicaError, Replicas, real_replicas
from tests.robustness.traffic import Traffic
from tests.robustness.watchers import Watcher

_CLOCK = SystemClock()
_WATCHERS = 4
_OLD_READS_AT_THE_END = 12
_AUDIT_SECONDS = PATIENCE_SECONDS


@dataclass
class Report:
    """What rounds gave, added up."""

    failures: list[str] = field(default_factory=list)
    #: Faults that cannot be brought about here, and why.
    left_out: list[str] = field(default_factory=list)
    rounds: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    operations: int = 0
    unknown: int = 0
    acknowledged: int = 0
    reads: int = 0
    replays: int = 0
    expired: int = 0
    old_reads: int = 0
    events: int = 0
    streams: int = 0
    revisions: int = 0

    def lines(self) -> list[str]:
        """For people."""
        kinds = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        return [
            *self.left_out,
            f"{self.rounds} rounds with {sum(self.faults.values())} faults on real processes: {kinds}",
            f"{self.operations} operations ({self.unknown} of unknown fate), {self.acknowledged} "
            f"acknowledged writes, {self.reads} linearizable reads, {self.revisions} revisions",
            f"{self.replays} answers to repeated requests, {self.expired} refused as too old",
            f"{self.events} watch events on {self.streams} streams, {self.old_reads} reads at old revisions",
            f"{len(self.failures)} failures",
        ]


class Round:
    """Some faults under traffic in a namespace of its own."""

    def __init__(self, replicas: Replicas, *, number: int, rng: random.Random, faults: Faults) -> None:
        self._replicas = replicas
        self._rng = rng
        self._faults = faults
        self._namespace = f"round-{number}"
        self._traffic = Traffic(
            replicas.client_config(),
            addresses=replicas.addresses,
            transport=replicas.transport,
            clock=_CLOCK,
            rng=random.Random(rng.getrandbits(64)),
            namespace=self._namespace,
        )

    async def run(self, *, faults: int, report: Report) -> None:
        """Strike so often, then judge everything; what is wrong goes to the report."""
        self._faults.lost_history.clear()
        start = await self._create_namespace()
        watchers = [
            self._watcher(f"w{number}", start, wants_previous=number % 2 == 0) for number in range(_WATCHERS)
        ]
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watcher.run()) for watcher in watchers]
            working = [tasks.create_task(client()) for client in self._traffic.clients()]
            try:
                for _ in range(faults):
                    await self._faults.strike()
                    if len(self._whole()) < 2:
                        # Somebody has to be able to tell the whole round's history.
                        break
                    await asyncio.sleep(self._rng.uniform(0.1, 0.5))
            finally:
                self._traffic.stopping.set()
                for task in watching:
                    task.cancel()
                await asyncio.wait(working)
        await self._replicas.await_level()
        await self._judge(start, watchers, report)

    async def _create_namespace(self) -> int:
        """The revision after which the round begins."""
        namespace = core_pb2.Namespace()
        namespace.metadata.name = self._namespace
        async with self._replicas.client(self._rng) as client:
            created = await client.create(namespace)
        return int(created.metadata.resource_version)

    def _watcher(self, name: str, after_revision: int, *, wants_previous: bool) -> Watcher:
        return Watcher(
            name,
            namespace=self._namespace,
            after_revision=after_revision,
            addresses=self._replicas.addresses,
            transport=self._replicas.transport,
            rng=random.Random(self._rng.getrandbits(64)),
            wants_previous=wants_previous,
        )

    # --- judging -------------------------------------------------------------------------------

    async def _judge(self, start: int, watchers: list[Watcher], report: Report) -> None:
        statuses = await self._replicas.statuses()
        end = max(status.revision for status in statuses.values())
        failures: list[str] = []
        if len({status.state_hash for status in statuses.values()}) != 1:
            failures.append("the replicas' states differ")
        ledger = await self._audit(start, end, failures)
        for watcher in watchers:
            await watcher.stay(self._whole()[0], seconds=_AUDIT_SECONDS, until_revision=end)
            if watcher.revision < end:
                failures.append(f"watcher {watcher.watches[0].watcher} never came to revision {end}")
        for name in self._replicas.running:
            for _ in range(_OLD_READS_AT_THE_END // 3):
                revision = self._rng.randint(start, end)
                answered = await self._traffic.read_old(name, revision)
                if not answered and name not in self._faults.lost_history:
                    failures.append(f"{name} gave no answer for revision {revision}")
        operations = self._traffic.log.operations()
        verdict = check(operations)
        failures += [f"not linearizable: {violation}" for violation in verdict.violations]
        failures += [f"linearizability undecided: {part}" for part in verdict.undecided]
        failures += outcomes_match_history(operations, ledger)
        failures += revisions_follow_time(operations)
        failures += writes_happened_once(operations, ledger)
        failures += requests_have_one_outcome(operations)
        failures += old_reads_match_history(self._traffic.old_reads, ledger)
        watches = [watch for watcher in watchers for watch in watcher.watches]
        failures += check_watches(watches, ledger)
        self._add_up(report, failures, watches, end - start)

    def _whole(self) -> list[str]:
        """The replicas that have the whole round's history."""
        return [name for name in self._replicas.running if name not in self._faults.lost_history]

    async def _audit(self, start: int, end: int, failures: list[str]) -> Ledger:
        """What every replica's history tells of the round; they have to tell the same."""
        ledger = Ledger(after_revision=start)
        for name in self._replicas.running:
            auditor = self._watcher(f"auditor of {name}", start, wants_previous=True)
            await auditor.stay(name, seconds=_AUDIT_SECONDS, until_revision=end)
            if auditor.revision < end:
                if name in self._faults.lost_history:
                    continue
                failures.append(f"{name} does not tell its history from {start} to {end}")
                continue
            failures += note_history(auditor.watches[-1], ledger, end)
            failures += check_watches(auditor.watches, ledger)
        return ledger

    def _add_up(self, report: Report, failures: list[str], watches: list[SeenWatch], revisions: int) -> None:
        operations = self._traffic.log.operations()
        report.rounds += 1
        report.failures += failures
        report.faults = dict(self._faults.counts)
        report.operations += len(operations)
        report.unknown += sum(operation.fate.value == "unknown" for operation in operations)
        report.acknowledged += self._traffic.acknowledged
        report.reads += self._traffic.reads
        report.replays += self._traffic.replays
        report.expired += self._traffic.expired
        report.old_reads += len(self._traffic.old_reads)
        report.events += sum(1 for watch in watches for _ in watch.events())
        report.streams += sum(len(watch.streams) for watch in watches)
        report.revisions += revisions


def note_history(watch: SeenWatch, ledger: Ledger, end: int) -> list[str]:
    """Add what a complete watch was told; revisions that were not of its concern changed nothing there."""
    told: dict[int, list[LedgerChange]] = {}
    for event in watch.events():
        told.setdefault(event.revision, []).append(LedgerChange(event.key, event.value))
    faults = []
    for revision in range(watch.after_revision + 1, end + 1):
        changes = sorted(told.get(revision, []), key=lambda change: change.key)
        if fault := ledger.add(revision, changes):
            faults.append(fault)
    return faults


async def run_rounds(folder: Path, *, seed: int, faults: int, report: Report, per_round: int = 10) -> None:
    """So many faults on one cluster, in rounds; stops at the first round that fails."""
    rng = random.Random(seed)
    async with real_replicas(folder, fake_clocks=True) as replicas:
        injector = Faults(replicas, random.Random(rng.getrandbits(64)))
        if not replicas.fake_clocks:
            report.left_out.append("clock jumps were left out: libfaketime is not installed")
        if not any(replica.has_small_disk for replica in replicas.replicas.values()):
            report.left_out.append("full disks were left out: a small disk cannot be mounted here")
        number = 0
        while injector.count < faults and not report.failures:
            number += 1
            one = Round(replicas, number=number, rng=random.Random(rng.getrandbits(64)), faults=injector)
            try:
                await one.run(faults=min(per_round, faults - injector.count), report=report)
            except* ReplicaError as group:
                report.failures += [str(error) for error in group.exceptions]
            except* Exception as group:  # noqa: BLE001 - see below
                # Whatever ended the round is a finding, about the replicas or about what strikes them.
                report.failures += traceback.format_exception(group)
            if report.failures:
                report.failures.append("what happened last: " + "; ".join(injector.trace[-20:]))
