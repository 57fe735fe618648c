from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.failover.evidence import (
    Acknowledgement,
    ContainerRun,
    Evidence,
    Round,
    StoredObject,
    WatchedEvent,
)
from cluster.failover.timeline import line
from cluster.failover.verdict import describe, gap, judge

RUN = ContainerRun("docker://1", 0)


def acknowledgement(number: int, started: float, acknowledged: float) -> Acknowledgement:
    return Acknowledgement(f"w1-{number}", f"w1-{number}-abc", number, started, acknowledged)


def perfect() -> Evidence:
    """Ten writes, one every 10 ms, with the leader killed in the middle and a pause of 0.2 s."""
    moments = [0.01 * n if n < 5 else 0.2 + 0.01 * n for n in range(10)]
    acknowledged = tuple(acknowledgement(n, at - 0.002, at) for n, at in enumerate(moments))
    return Evidence(
        rounds=(Round("r1", 0.045, "r2"),),
        acknowledged=acknowledged,
        stored=tuple(StoredObject(ack.object_name, ack.write, ack.revision) for ack in acknowledged),
        watched=tuple(WatchedEvent("ADDED", ack.object_name, ack.revision) for ack in acknowledged),
        containers_before={("uid", "web"): RUN},
        containers_after={("uid", "web"): RUN, ("new", "web"): RUN},
    )


def test_a_faultless_run_passes():
    verdict = judge(perfect())
    assert verdict.passed
    assert verdict.writes == 10
    assert verdict.gaps == pytest.approx((0.21,))


def test_an_acknowledged_write_that_is_not_stored_is_lost():
    verdict = judge(replace(perfect(), stored=perfect().stored[1:], watched=perfect().watched[1:]))
    assert (verdict.lost, verdict.passed) == (1, False)


def test_two_objects_of_one_write_are_a_write_done_twice():
    twin = StoredObject("w1-3-xyz", "w1-3", 99)
    seen = WatchedEvent("ADDED", twin.name, 99)
    verdict = judge(replace(perfect(), stored=(*perfect().stored, twin), watched=(*perfect().watched, seen)))
    assert (verdict.done_twice, verdict.events_missed, verdict.passed) == (1, 0, False)


def test_a_write_that_was_stored_but_never_answered_fails_the_run():
    assert not judge(replace(perfect(), unanswered=("w1-11",))).passed


def test_an_event_that_did_not_come_is_missed():
    verdict = judge(replace(perfect(), watched=perfect().watched[:-1]))
    assert (verdict.events_missed, verdict.events_repeated, verdict.passed) == (1, 0, False)


def test_an_event_that_came_twice_is_repeated():
    watched = perfect().watched
    verdict = judge(replace(perfect(), watched=(*watched, watched[-1])))
    assert (verdict.events_missed, verdict.events_repeated, verdict.passed) == (0, 1, False)


def test_an_event_that_nobody_caused_counts_as_repeated():
    watched = (*perfect().watched, WatchedEvent("DELETED", "w1-1-abc", 50))
    assert judge(replace(perfect(), watched=watched)).events_repeated == 1


def test_events_out_of_order_fail_the_run():
    verdict = judge(replace(perfect(), watched=tuple(reversed(perfect().watched))))
    assert (verdict.events_missed, verdict.events_out_of_order, verdict.passed) == (0, 9, False)


@pytest.mark.parametrize(
    "after",
    [{}, {("uid", "web"): ContainerRun("docker://2", 0)}, {("uid", "web"): ContainerRun("docker://1", 1)}],
)
def test_a_container_that_is_gone_replaced_or_restarted_fails_the_run(
    after: dict[tuple[str, str], ContainerRun],
):
    verdict = judge(replace(perfect(), containers_after=after))
    assert (verdict.containers_restarted, verdict.passed) == (1, False)


def test_a_run_without_a_write_after_the_killing_fails():
    verdict = judge(replace(perfect(), acknowledged=perfect().acknowledged[:5]))
    assert verdict.gaps == (float("inf"),)
    assert not verdict.passed


def test_an_answer_that_was_under_way_when_the_leader_died_does_not_end_the_gap():
    late = acknowledgement(10, 0.040, 0.046)
    acknowledged = (*perfect().acknowledged, late)
    assert gap(perfect().rounds[0], acknowledged) == pytest.approx(0.25 - 0.046)


def test_the_verdict_names_every_count():
    text = "\n".join(describe(judge(perfect())))
    for word in ("lost", "twice", "missed", "repeated", "restarted", "gap"):
        assert word in text


def test_a_line_shows_leader_and_rate():
    assert line(seconds=1.5, leader="r2", term=7, rate=150, full_rate=300) == (
        "   1.5 s  r2 leads, term 7        150 writes/s  ███████████████"
    )
    assert "no leader" in line(seconds=1.5, leader="", term=0, rate=0, full_rate=300)
