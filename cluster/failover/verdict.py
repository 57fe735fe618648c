"""The judgement: pure, from evidence to numbers that should be zero."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.failover.evidence import Acknowledgement, Evidence, Round


@dataclass(frozen=True)
class Verdict:
    """The outcome. `gaps` are in seconds, one per round; everything else should be 0."""

    writes: int
    gaps: tuple[float, ...]
    lost: int
    done_twice: int
    unanswered: int
    events_missed: int
    events_repeated: int
    events_out_of_order: int
    containers: int
    containers_restarted: int

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled, missed or disturbed, and every round ended with a write."""
        faults = (
            self.lost,
            self.done_twice,
            self.unanswered,
            self.events_missed,
            self.events_repeated,
            self.events_out_of_order,
            self.containers_restarted,
        )
        return not any(faults) and self.writes > 0 and all(gap < float("inf") for gap in self.gaps)


def judge(evidence: Evidence) -> Verdict:
    """Compare what was acknowledged and watched with what is stored."""
    stored_writes = Counter(stored.write for stored in evidence.stored)
    truth = Counter((stored.name, stored.create_revision) for stored in evidence.stored)
    additions = Counter(
        (event.object_name, event.revision) for event in evidence.watched if event.kind == "ADDED"
    )
    others = sum(event.kind != "ADDED" for event in evidence.watched)
    revisions = [event.revision for event in evidence.watched]
    return Verdict(
        writes=len(evidence.acknowledged),
        gaps=tuple(gap(one, evidence.acknowledged) for one in evidence.rounds),
        lost=_lost(evidence),
        done_twice=sum(count - 1 for count in stored_writes.values()),
        unanswered=len(evidence.unanswered),
        events_missed=(truth - additions).total(),
        events_repeated=(additions - truth).total() + others,
        events_out_of_order=sum(later < earlier for earlier, later in itertools.pairwise(revisions)),
        containers=len(evidence.containers_before),
        containers_restarted=sum(
            evidence.containers_after.get(key) != run for key, run in evidence.containers_before.items()
        ),
    )


def gap(one: Round, acknowledged: Sequence[Acknowledgement]) -> float:
    """How long no write was acknowledged around a killing: from the last acknowledgement before the
    first one that the dead leader cannot have given, which is that of a write begun after its death
    or answered with a pause; infinite if there was none."""
    times = sorted(ack.acknowledged for ack in acknowledged)
    before = [moment for moment in times if moment <= one.killed]
    after = [moment for moment in times if moment > one.killed]
    first_surely_new = min(
        (ack.acknowledged for ack in acknowledged if ack.started > one.killed), default=float("inf")
    )
    if first_surely_new == float("inf"):
        return first_surely_new
    window = [
        before[-1] if before else one.killed,
        *(moment for moment in after if moment <= first_surely_new),
    ]
    return max(later - earlier for earlier, later in itertools.pairwise(window))


def describe(verdict: Verdict) -> list[str]:
    """The verdict for people."""
    gaps = sorted(verdict.gaps)
    lines = []
    if gaps:
        middle = (
            gaps[len(gaps) // 2] if len(gaps) % 2 else (gaps[len(gaps) // 2 - 1] + gaps[len(gaps) // 2]) / 2
        )
        median = f"{middle:.3f} s, worst {gaps[-1]:.3f} s" if len(gaps) > 1 else f"{gaps[0]:.3f} s"
        lines.append(f"gap without an acknowledged write     {median}")
    lines += [
        f"writes acknowledged                   {verdict.writes}",
        f"acknowledged writes lost              {verdict.lost}",
        f"writes done twice                     {verdict.done_twice}",
        f"writes never answered                 {verdict.unanswered}",
        f"watch events missed                   {verdict.events_missed}",
        f"watch events repeated                 {verdict.events_repeated}",
        f"watch events out of order             {verdict.events_out_of_order}",
        f"containers restarted                  {verdict.containers_restarted} of {verdict.containers}",
    ]
    return lines


def _lost(evidence: Evidence) -> int:
    names = {(stored.name, stored.write) for stored in evidence.stored}
    return sum((ack.object_name, ack.write) not in names for ack in evidence.acknowledged)
