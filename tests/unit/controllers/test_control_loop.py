"""The harness: one key at a time, on a state that has seen the key's own last commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from h9s._pb import core_pb2
from h9s.api.kinds import ApiObject
from h9s.api.objects import from_object
from h9s.client import EventRecorder, operations
from h9s.client.cache import Cache, Collection
from h9s.controllers.controller import Controller, ControlLoop, Wake, either
from h9s.controllers.decision import Decision, Note
from h9s.errors import InvalidError
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, pod, until, virtual


class Toy(Controller[str]):
    """Keys are names of pods; what to do about them the test says."""

    name = "toy"

    def __init__(self, pods: Collection[core_pb2.Pod], step: Callable[[str, core_pb2.Pod | None], Decision]):
        self.pods = pods
        self.step = step
        self.decided: list[str] = []
        self.under_way: set[str] = set()

    def wakes(self) -> Sequence[Wake[str]]:
        return (Wake(self.pods, either(lambda obj: (obj.metadata.name,))),)

    async def decide(self, key: str) -> Decision:
        assert key not in self.under_way, "two workers on one key"
        self.under_way.add(key)
        await asyncio.sleep(0.001)
        self.under_way.discard(key)
        self.decided.append(key)
        return self.step(key, self.pods.get("default", key))

    def about(self, key: str) -> ApiObject | None:
        return self.pods.get("default", key)


class Running:
    """A control loop at work."""

    def __init__(self, api: FakeApi, toy: Toy, loop: ControlLoop[str]) -> None:
        self.api = api
        self.toy = toy
        self.loop = loop

    def put(self, *objects: core_pb2.Pod) -> None:
        for obj in objects:
            self.api.objects.put(obj)
        self.api.notify()

    def events(self) -> list[tuple[str, str]]:
        found = (from_object(stored) for stored in self.api.objects.objects.values())
        return [(e.reason, e.message) for e in found if isinstance(e, core_pb2.Event)]

    def labels(self, name: str) -> dict[str, str]:
        stored = from_object(self.api.objects.objects["", "Pod", "default", name])
        return dict(stored.metadata.labels)


@contextlib.asynccontextmanager
async def running(
    step: Callable[[str, core_pb2.Pod | None], Decision], *pods: core_pb2.Pod
) -> AsyncIterator[Running]:
    api = FakeApi()
    for obj in pods:
        api.objects.put(obj)
    async with new_client(api) as client:
        cache = Cache(client, (core_pb2.Pod,))
        recorder = EventRecorder(client, "test")
        toy = Toy(cache.of(core_pb2.Pod), step)
        loop = ControlLoop(toy, client=client, cache=cache, recorder=recorder)
        tasks = [asyncio.create_task(main) for main in (cache.run(), recorder.run())]
        await cache.synced.wait()
        tasks.append(asyncio.create_task(loop.run()))
        try:
            yield Running(api, toy, loop)
            for task in tasks:
                assert not task.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def labelled(obj: core_pb2.Pod, **labels: str) -> core_pb2.Pod:
    changed = core_pb2.Pod()
    changed.CopyFrom(obj)
    changed.metadata.labels.update(labels)
    return changed


def count_up(_key: str, obj: core_pb2.Pod | None) -> Decision:
    """Five commits, one after the other."""
    count = int(obj.metadata.labels["n"] or 0) if obj is not None else 5
    if obj is None or count == 5:
        return Decision()
    return Decision((operations.update(labelled(obj, n=str(count + 1))),))


@virtual
async def test_every_decision_sees_the_last_commit_of_its_key():
    async with running(count_up, pod("a", n="0")) as it:
        await until(lambda: it.labels("a")["n"] == "5")
        await asyncio.sleep(1)
        # Five commits and a look that finds nothing left to do: none was made on an old state.
        assert it.toy.decided == ["a"] * 6
        assert it.api.objects.revision == 6


@virtual
async def test_everything_there_is_gets_looked_at_first():
    async with running(lambda key, obj: Decision(), pod("a"), pod("b")) as it:
        await until(lambda: sorted(it.toy.decided) == ["a", "b"])


@virtual
async def test_changes_wake_their_keys_alone():
    async with running(lambda key, obj: Decision(), pod("a"), pod("b")) as it:
        await until(lambda: len(it.toy.decided) == 2)
        it.put(pod("b", changed="yes"))
        await until(lambda: len(it.toy.decided) == 3)
        await asyncio.sleep(10)
        assert it.toy.decided[2:] == ["b"]


@virtual
async def test_time_wakes_where_the_decision_asks_for_it():
    times: list[float] = []

    def wait(_key: str, _obj: core_pb2.Pod | None) -> Decision:
        times.append(asyncio.get_running_loop().time())
        return Decision(again_after=7.0) if len(times) == 1 else Decision()

    async with running(wait, pod("a")):
        await until(lambda: len(times) == 2)
        await asyncio.sleep(20)
    assert len(times) == 2
    assert 7 <= times[1] - times[0] < 7.1


@virtual
async def test_a_decision_on_an_old_state_is_made_anew():
    api_changed = False

    def label(_key: str, obj: core_pb2.Pod | None) -> Decision:
        nonlocal api_changed
        if obj is None or "done" in obj.metadata.labels:
            return Decision()
        if not api_changed:
            api_changed = True
            it.put(pod("a", user="was here"))
        return Decision((operations.update(labelled(obj, done="yes")),))

    async with running(label, pod("a")) as it:
        await until(lambda: "done" in it.labels("a"))
    assert it.labels("a") == {"user": "was here", "done": "yes"}


@virtual
async def test_a_refused_commit_is_told_and_tried_again():
    refusals = 2

    def refuse(_server: str, method: str, request: object) -> None:
        nonlocal refusals
        if method == "Commit" and refusals and b"event" not in str(request).encode().lower():
            refusals -= 1
            raise InvalidError("there is something wrong with it")

    async with running(count_up, pod("a", n="4")) as it:
        it.api.intercept = refuse
        await until(lambda: it.labels("a")["n"] == "5")
        await until(lambda: bool(it.events()))
    assert it.events() == [("ReconcileFailed", "there is something wrong with it")]


@virtual
async def test_an_absent_apiserver_is_waited_for_without_a_word_to_users():
    async with running(count_up, pod("a", n="4")) as it:
        for server in it.api.servers:
            it.api.kill(server)
        await asyncio.sleep(100)
        for server in it.api.servers:
            it.api.restart(server)
        await until(lambda: it.labels("a")["n"] == "5", seconds=60)
        await asyncio.sleep(5)
        assert it.events() == []


@virtual
async def test_events_name_what_was_written():
    def create_two(key: str, obj: core_pb2.Pod | None) -> Decision:
        if key != "a" or obj is None or obj.metadata.labels["n"] == "1":
            return Decision()
        ops = (
            operations.update(labelled(obj, n="1")),
            operations.create(pod("b")),
            operations.create(pod("c")),
        )
        return Decision(ops, (Note(obj, "Normal", "Created", "Created pod", range(1, 3)),))

    async with running(create_two, pod("a", n="0")) as it:
        await until(lambda: bool(it.events()))
    assert it.events() == [("Created", "Created pods: b, c")]


@virtual
async def test_a_note_without_a_commit_is_recorded_too():
    def tell(_key: str, obj: core_pb2.Pod | None) -> Decision:
        return Decision(notes=(Note(obj, "Normal", "Seen", "hello"),)) if obj is not None else Decision()

    async with running(tell, pod("a")) as it:
        await until(lambda: it.events() == [("Seen", "hello")])


@virtual
async def test_what_was_cut_short_is_looked_at_again_when_it_runs_again():
    async with running(lambda key, obj: Decision(), pod("a")) as it:
        await until(lambda: it.toy.decided == ["a"])
        again = asyncio.create_task(it.loop.run())
        await until(lambda: it.toy.decided == ["a", "a"])
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)


@virtual
async def test_an_answer_that_was_lost_does_nothing_twice():
    async with running(count_up, pod("a", n="0")) as it:
        it.api.lost_answers = 3
        await until(lambda: it.labels("a")["n"] == "5")
        await asyncio.sleep(1)
        assert it.api.objects.revision == 6
