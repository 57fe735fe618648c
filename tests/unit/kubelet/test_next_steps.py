"""Properties of what a worker does to a pod, whatever happens to it from outside."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import core_pb2
from h9s.kubelet.observed import State
from tests.unit.kubelet.world import World, make_pod

EVENTS = st.sampled_from(
    [
        ("exit", 0),
        ("exit", 1),
        ("kill", 0),
        ("lose container", 0),
        ("lose sandbox", 0),
        ("sandbox dies", 0),
        ("wait", 1),
        ("wait", 15),
        ("wait", 700),
        ("new image", 0),
        ("restart howbelet", 0),
        ("restart howbelet that never reported", 0),
        ("engine hiccup", 0),
        ("nothing is pulled", 0),
    ]
)


def containers(count: int) -> list[core_pb2.Container]:
    return [core_pb2.Container(name=f"c{number}", image="app:1") for number in range(count)]


def happen(world: World, event: tuple[str, int], which: int) -> None:
    kind, value = event
    running = world.there.running
    victim = running[which % len(running)] if running else None
    box = world.there.sandbox
    match kind:
        case "exit" | "kill" if victim:
            world.runtime.exit(victim.id, value if kind == "exit" else 137)
        case "lose container" if world.there.containers:
            world.runtime.lose_container(world.there.containers[which % len(world.there.containers)].id)
        case "lose sandbox" if box:
            world.runtime.lose_sandbox(box.id)
        case "sandbox dies" if box:
            world.runtime.lose_sandbox(box.id, leave_dead=True)
        case "wait":
            world.settle_for(value)
        case "new image":
            world.change(lambda pod: setattr(pod.spec.containers[0], "image", f"app:{which}"))
        case "restart howbelet":
            world.deliver()
            world.worker = world.new_worker()
        case "restart howbelet that never reported":
            world.worker = world.new_worker()
        case "nothing is pulled":
            world.runtime.missing_images = {"app:1", "app:2"} if not world.runtime.missing_images else set()


def play(world: World, story: list[tuple[tuple[str, int], int]]) -> None:
    world.settle()
    for event, which in story:
        happen(world, event, which)
        if which % 3:
            world.settle()
    world.runtime.missing_images = set()
    world.settle_for(2000)


STORY = st.lists(st.tuples(EVENTS, st.integers(0, 5)), max_size=12)


@given(story=STORY, count=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_a_pod_that_always_restarts_ends_up_running(story, count):
    # FakeRuntime fails the test by itself where two runs of a container would run at once.
    world = World(make_pod(*containers(count)))
    play(world, story)
    assert {run.name for run in world.there.running} == {f"c{number}" for number in range(count)}
    assert len(world.there.running) == count
    assert world.there.sandbox is not None
    assert all(run.sandbox_id == world.there.sandbox.id for run in world.there.running)
    assert len(world.there.sandboxes) == 1
    assert world.status.phase == "Running"
    assert all(status.ready for status in world.status.container_statuses)
    world.close()


@given(story=STORY, count=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_a_pod_that_never_restarts_starts_each_container_at_most_once(story, count):
    world = World(make_pod(*containers(count), policy="Never"))
    starts: list[str] = []
    world.runtime.before = lambda operation: (
        starts.append(operation) if operation == "start_container" else None
    )
    play(world, [event for event in story if event[0][0] != "restart howbelet that never reported"])
    assert len(starts) == count
    assert all(run.attempt == 0 for run in world.there.containers)
    world.close()


@given(story=STORY, count=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_pod_that_restarts_on_failure_ends_when_all_its_containers_succeed(story, count):
    world = World(make_pod(*containers(count), policy="OnFailure"))
    play(world, story)
    for run in world.there.running:
        world.runtime.exit(run.id, 0)
    world.settle_for(2000)
    while world.there.running:
        for run in world.there.running:
            world.runtime.exit(run.id, 0)
        world.settle_for(2000)
    assert world.status.phase == "Succeeded"
    assert world.there.sandboxes == ()
    world.close()


@given(
    story=STORY,
    count=st.integers(1, 3),
    grace=st.integers(0, 40),
    stubborn=st.booleans(),
    forced=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_nothing_is_left_of_a_deleted_pod(story, count, grace, stubborn, forced):
    world = World(make_pod(*containers(count)))
    world.settle()
    for event, which in story:
        happen(world, event, which)
        if which % 2:
            world.settle()
    if stubborn:
        world.runtime.stubborn = {f"c{number}" for number in range(count)}
    if forced:
        world.forget()
    else:
        world.delete(grace=grace)
    result = world.settle_for(100)
    assert result.finished
    assert world.there.is_empty
    assert forced or world.uid in world.reports.finished
    world.close()


@given(story=STORY)
@settings(max_examples=100, deadline=None)
def test_of_each_container_only_two_runs_are_kept(story):
    world = World(make_pod(*containers(2)))
    play(world, story)
    for name in ("c0", "c1"):
        runs = [run for run in world.there.containers if run.name == name]
        assert len(runs) <= 2
        assert [run.state for run in runs].count(State.RUNNING) == 1
    world.close()
