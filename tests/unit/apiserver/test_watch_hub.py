"""Watches: ordered, unique, atomic, reliable, resumable, bookmarked."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s._pb import api_pb2, core_pb2, log_pb2
from h9s.api.objects import from_object
from h9s.apiserver.selection import Objects, select
from h9s.apiserver.watch_hub import WatchHub
from h9s.client.operations import create, delete, key_of, update
from h9s.errors import CompactedError
from h9s.testing.virtual_loop import run_virtual
from tests.unit.apiserver.support import ADMIN, SCHEDULER, Cluster, lease, namespace, pod, virtual

ADDED, MODIFIED, DELETED = api_pb2.WatchEvent.ADDED, api_pb2.WatchEvent.MODIFIED, api_pb2.WatchEvent.DELETED


class Watching:
    """A hub on a cluster, and one watcher whose responses are collected."""

    def __init__(self, cluster, hub, tasks):
        self.cluster = cluster
        self.hub = hub
        self._tasks = tasks

    def open(self, key=None, *, after=None, labels="", fields="", caller=ADMIN, previous=False):
        selection = select(
            key or key_of(core_pb2.Pod), labels=labels, fields=fields, caller=caller, objects=Objects()
        )
        collected = Collected()
        after = self.cluster.store.revision if after is None else after
        collected.task = self._tasks.create_task(self._collect(collected, selection, after, previous))
        return collected

    async def _collect(self, collected, selection, after, previous):
        with self.hub.watch(selection, after_revision=after, previous=previous) as watcher:
            try:
                while True:
                    await collected.gate.wait()
                    collected.responses.append(await watcher.next())
            except CompactedError as error:
                collected.error = error


class Collected:
    def __init__(self):
        self.responses = []
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.task = None

    @property
    def events(self):
        return [event for response in self.responses for event in response.events]

    @property
    def seen(self):
        return [(event.type, from_object(event.object).metadata.name) for event in self.events]


def watching(test):
    """Run a test with a hub that runs; ends what it left running."""

    async def run():
        cluster = await Cluster.with_default_namespace()
        hub = WatchHub(cluster.store, bookmark_seconds=1.0)
        tasks: list[asyncio.Task[None]] = []
        world = Watching(cluster, hub, _Tasks(tasks))
        running = asyncio.create_task(hub.run())
        try:
            await test(world)
        finally:
            for task in (running, *tasks):
                task.cancel()
            results = await asyncio.gather(running, *tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError | None) for result in results), results
        assert len(hub) == 0

    def run_test():
        run_virtual(run)

    run_test.__name__ = test.__name__
    return run_test


class _Tasks:
    def __init__(self, tasks):
        self._tasks = tasks

    def create_task(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.append(task)
        return task


@watching
async def test_every_change_arrives_once_in_order(world):
    watch = world.open()
    await world.cluster.commit(create(pod()))
    await world.cluster.commit(update(pod(labels={"a": "b"})))
    await world.cluster.commit(delete(pod()))
    await asyncio.sleep(0.1)
    assert watch.seen == [(ADDED, "web"), (MODIFIED, "web"), (DELETED, "web")]
    added, _, deleted = watch.events
    assert [event.object.mod_revision for event in watch.events] == [2, 3, 4]
    assert added.object.create_revision == deleted.object.create_revision == 2
    assert from_object(deleted.object).metadata.labels["a"] == "b"


@watching
async def test_the_first_answer_says_where_the_watch_starts(world):
    watch = world.open()
    await asyncio.sleep(0.01)
    assert [(response.revision, len(response.events)) for response in watch.responses] == [(1, 0)]


@watching
async def test_bookmarks_come_when_nothing_happens(world):
    watch = world.open()
    await world.cluster.commit(create(lease()))
    await asyncio.sleep(3.1)
    assert watch.events == []
    assert [response.revision for response in watch.responses] == [1, 2, 2, 2]


@watching
async def test_a_revision_is_never_split(world):
    watch = world.open(after=0)
    await world.cluster.commit(*[create(pod(f"p{i}")) for i in range(900)])
    await world.cluster.commit(*[create(pod(f"q{i}")) for i in range(900)])
    await asyncio.sleep(0.1)
    with_events = [response for response in watch.responses if response.events]
    assert [len(response.events) for response in with_events] in ([900, 900], [1800])
    for response in with_events:
        assert {event.object.mod_revision for event in response.events} <= {2, 3}
        assert max(event.object.mod_revision for event in response.events) <= response.revision


@watching
async def test_a_watch_resumes_where_it_was(world):
    for i in range(5):
        await world.cluster.commit(create(pod(f"p{i}")))
    watch = world.open(after=3)
    await asyncio.sleep(0.01)
    assert watch.seen == [(ADDED, "p2"), (ADDED, "p3"), (ADDED, "p4")]


@watching
async def test_only_what_is_watched_arrives(world):
    await world.cluster.commit(create(namespace("other")))
    everything = world.open(api_pb2.ObjectKey())
    one_namespace = world.open(key_of(core_pb2.Pod, "", "other"))
    one_object = world.open(key_of(core_pb2.Pod, "web", "default"))
    await world.cluster.commit(
        create(pod("web")), create(pod("web2")), create(pod("x", "other")), create(lease())
    )
    await asyncio.sleep(0.1)
    assert [name for _, name in everything.seen] == ["web", "web2", "x", "lock"]
    assert [name for _, name in one_namespace.seen] == ["x"]
    assert [name for _, name in one_object.seen] == ["web"]


@watching
async def test_what_leaves_the_selection_is_deleted_and_what_enters_added(world):
    watch = world.open(labels="app=a")
    await world.cluster.commit(create(pod(labels={"app": "a"})), create(pod("no", labels={"app": "b"})))
    await world.cluster.commit(update(pod(labels={"app": "a", "x": "y"})))
    await world.cluster.commit(update(pod(labels={"app": "b"})))
    await world.cluster.commit(update(pod(labels={"app": "b", "x": "y"})))
    await world.cluster.commit(update(pod(labels={"app": "a"})))
    await world.cluster.commit(delete(pod()))
    await asyncio.sleep(0.1)
    assert watch.seen == [(kind, "web") for kind in (ADDED, MODIFIED, DELETED, ADDED, DELETED)]
    left = watch.events[2]
    assert left.object.mod_revision == 4
    assert from_object(left.object).metadata.labels["x"] == "y"


@watching
async def test_fields_select_too(world):
    watch = world.open(fields="spec.nodeName=n1")
    await world.cluster.commit(create(pod("a", node="n1")), create(pod("b", node="n2")), create(pod("c")))
    bound = pod("c", node="n1")
    await world.cluster.commit(update(bound))
    await asyncio.sleep(0.1)
    assert watch.seen == [(ADDED, "a"), (ADDED, "c")]


@watching
async def test_the_previous_state_is_sent_on_request(world):
    watch = world.open(previous=True)
    await world.cluster.commit(create(pod()))
    await world.cluster.commit(update(pod(labels={"a": "b"})))
    await asyncio.sleep(0.1)
    added, modified = watch.events
    assert not added.HasField("previous")
    assert modified.previous == added.object


@watching
async def test_a_watch_below_the_floor_ends_with_compacted(world):
    for i in range(5):
        await world.cluster.commit(create(pod(f"p{i}")))
    await world.cluster.store.apply(log_pb2.Transaction(), compact_revision=4)
    watch = world.open(after=2)
    await asyncio.sleep(0.01)
    assert watch.error is not None
    assert watch.events == []


@watching
async def test_a_slow_watcher_misses_nothing(world):
    watch = world.open()
    watch.gate.clear()
    for i in range(1200):
        await world.cluster.commit(create(lease(f"l{i}")) if i % 3 else create(pod(f"p{i}")))
    watch.gate.set()
    await asyncio.sleep(0.1)
    assert watch.seen == [(ADDED, f"p{i}") for i in range(0, 1200, 3)]


@watching
async def test_a_slow_watcher_that_falls_below_the_floor_is_told(world):
    watch = world.open()
    await asyncio.sleep(0.01)
    watch.gate.clear()
    for i in range(10):
        await world.cluster.commit(create(pod(f"p{i}")))
    # It is inside next() once more: that one answer it gets.
    await asyncio.sleep(0.01)
    for i in range(10):
        await world.cluster.commit(create(pod(f"q{i}")))
    await world.cluster.store.apply(log_pb2.Transaction(), compact_revision=world.cluster.store.revision)
    watch.gate.set()
    await asyncio.sleep(0.01)
    assert watch.error is not None


@watching
async def test_an_idle_watcher_survives_compaction_of_what_does_not_concern_it(world):
    watch = world.open()
    await asyncio.sleep(0.01)
    for i in range(50):
        await world.cluster.commit(create(lease(f"l{i}")))
    await asyncio.sleep(0.01)
    await world.cluster.store.apply(log_pb2.Transaction(), compact_revision=world.cluster.store.revision)
    await world.cluster.commit(create(pod()))
    await asyncio.sleep(0.01)
    assert watch.seen == [(ADDED, "web")]


@watching
async def test_a_watch_from_ahead_misses_nothing_when_a_snapshot_takes_this_replica_past_it(world):
    store = world.cluster.store
    watch = world.open(after=3)
    await asyncio.sleep(0.01)
    assert store.revision == 1
    # The hub sees nothing in between: as far as it can tell, all this came at once.
    for number in range(2, 7):
        mutation = log_pb2.Mutation(
            key=f"/core/Pod/default/p{number}", value=pod(f"p{number}").SerializeToString()
        )
        await store.apply(log_pb2.Transaction(mutations=[mutation]), compact_revision=2 if number == 6 else 0)
    await asyncio.sleep(0.01)
    assert watch.seen == [(ADDED, "p4"), (ADDED, "p5"), (ADDED, "p6")]


@watching
async def test_a_watch_from_ahead_of_this_replica_waits_for_it(world):
    watch = world.open(after=3)
    await world.cluster.commit(create(pod("p2")))
    await world.cluster.commit(create(pod("p3")))
    await world.cluster.commit(create(pod("p4")))
    await asyncio.sleep(1.5)
    assert watch.seen == [(ADDED, "p4")]
    revisions = [response.revision for response in watch.responses]
    assert revisions == sorted(revisions)
    assert revisions[0] == 3


@watching
async def test_secrets_are_not_shown_to_those_who_may_not_see_them(world):
    mine, others = world.open(api_pb2.ObjectKey()), world.open(api_pb2.ObjectKey(), caller=SCHEDULER)
    secret = log_pb2.Mutation(key="/h9s.io/JoinToken//abc", value=b"")
    await world.cluster.store.apply(log_pb2.Transaction(mutations=[secret]))
    await world.cluster.commit(create(pod()))
    await asyncio.sleep(0.01)
    assert len(mine.events) == 2
    assert others.seen == [(ADDED, "web")]


@watching
async def test_many_watchers_are_not_reminded_all_at_once(world):
    watches = [world.open() for _ in range(250)]
    await asyncio.sleep(2.2)
    for watch in watches:
        assert 3 <= len(watch.responses) <= 4


@virtual
async def test_a_watcher_that_nothing_concerns_is_not_woken():
    cluster = await Cluster.with_default_namespace()
    hub = WatchHub(cluster.store, bookmark_seconds=1e6)
    selection = select(key_of(core_pb2.Pod), labels="", fields="", caller=ADMIN, objects=Objects())
    with hub.watch(selection, after_revision=1, previous=False) as watcher:
        await watcher.next()
        waiting = asyncio.create_task(watcher.next())
        running = asyncio.create_task(hub.run())
        for i in range(10):
            await cluster.commit(create(lease(f"l{i}")))
        await asyncio.sleep(1)
        assert (waiting.done(), watcher.revision, hub.revision) == (False, 1, 11)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_what_watchers_see_adds_up_to_what_is_there(seed, length):
    """Whatever the writes, pauses and resumptions: applying the events gives the selected objects."""
    rng = random.Random(seed)

    async def run():
        cluster = await Cluster.with_default_namespace()
        hub = WatchHub(cluster.store, bookmark_seconds=0.5)
        running = asyncio.create_task(hub.run())
        selection = select(key_of(core_pb2.Pod), labels="app=a", fields="", caller=ADMIN, objects=Objects())
        mirror: dict[str, int] = {}
        position = cluster.store.revision

        async def follow(until):
            nonlocal position
            with hub.watch(selection, after_revision=position, previous=False) as watcher:
                while position < until:
                    response = await watcher.next()
                    assert response.revision >= position
                    for event in response.events:
                        assert event.object.mod_revision > position
                        name = from_object(event.object).metadata.name
                        assert (name in mirror) is (event.type != ADDED)
                        if event.type == DELETED:
                            del mirror[name]
                        else:
                            mirror[name] = event.object.mod_revision
                    position = response.revision

        for _ in range(length):
            name, label = f"p{rng.randrange(4)}", rng.choice("ab")
            exists = cluster.get(pod(name)) is not None
            target = pod(name, labels={"app": label, "n": str(rng.randrange(3))})
            op = rng.choice([update(target), delete(pod(name))]) if exists else create(target)
            await cluster.commit(op)
            if rng.random() < 0.3:
                await follow(rng.randint(position, cluster.store.revision))
            if rng.random() < 0.2:
                await asyncio.sleep(rng.random())
        await follow(cluster.store.revision)
        present = {
            found.key.rpartition("/")[2]: found.mod_revision
            for found in cluster.store.view().scan("/core/Pod/")
            if core_pb2.Pod.FromString(found.value).metadata.labels["app"] == "a"
        }
        assert mirror == present
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run_virtual(run)
