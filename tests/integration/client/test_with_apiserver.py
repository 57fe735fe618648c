"""The client's parts against a real apiserver."""

import asyncio
from contextlib import aclosing

import pytest

from h9s import pki
from h9s._pb import coordination_pb2, core_pb2, meta_pb2
from h9s.client import (
    BatchingClient,
    Client,
    EventRecorder,
    EventType,
    Informer,
    LeaderElection,
    LeaseTimings,
    join,
    operations,
)
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.errors import (
    AlreadyExistsError,
    CompactedError,
    ConflictError,
    FutureRevisionError,
    InvalidError,
    NotFoundError,
)
from tests.integration.apiserver.serving import serving, until

BOTH = pytest.mark.parametrize("cls", [Client, BatchingClient])


@pytest.fixture
async def apiserver():
    async with serving() as running:
        yield running


def lease(name, holder="somebody"):
    return coordination_pb2.Lease(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default"),
        spec=coordination_pb2.LeaseSpec(holder_identity=holder),
    )


@BOTH
async def test_objects_are_made_read_changed_and_deleted(apiserver, cls):
    async with apiserver.client(cls=cls) as client:
        made = await client.create(lease("a"))
        assert made.metadata.uid
        assert await client.get(coordination_pb2.Lease, "a") == made
        made.spec.holder_identity = "another"
        changed = await client.update(made)
        assert int(changed.metadata.resource_version) == int(made.metadata.resource_version) + 1
        before = await client.get(coordination_pb2.Lease, "a", revision=int(made.metadata.resource_version))
        assert before.spec.holder_identity == "somebody"
        gone = await client.delete(coordination_pb2.Lease, "a", uid=made.metadata.uid)
        assert gone.spec.holder_identity == "another"
        with pytest.raises(NotFoundError):
            await client.get(coordination_pb2.Lease, "a")


@BOTH
async def test_errors_arrive_as_they_were_raised(apiserver, cls):
    async with apiserver.client(cls=cls) as client:
        made = await client.create(lease("a"))
        with pytest.raises(AlreadyExistsError) as exists:
            await client.commit([operations.create(lease("b")), operations.create(lease("a"))])
        assert exists.value.operation == 1
        await client.update(lease("a", "another"))
        with pytest.raises(ConflictError):
            await client.update(made)
        with pytest.raises(InvalidError) as invalid:
            await client.create(lease("Not a Name"))
        assert invalid.value.faults[0].path == "metadata.name"
        with pytest.raises(ConflictError):
            await client.commit([operations.check(coordination_pb2.Lease, "a", "default", mod_revision=0)])


@BOTH
async def test_a_dry_run_changes_nothing(apiserver, cls):
    async with apiserver.client(cls=cls) as client:
        response = await client.commit([operations.create(lease("a"))], dry_run=True)
        assert len(response.objects) == 1
        with pytest.raises(NotFoundError):
            await client.get(coordination_pb2.Lease, "a")


class WrongClock(SystemClock):
    def __init__(self, seconds):
        self.seconds = seconds

    def wall(self):
        return super().wall() + self.seconds


@BOTH
@pytest.mark.parametrize("seconds", [-7200.0, 7200.0])
async def test_a_clock_that_is_two_hours_off_does_not_matter(apiserver, cls, seconds):
    clock = WrongClock(seconds)
    async with cls(apiserver.config(), clock=clock, rng=system_random()) as client:
        await client.create(lease("a"))
        await client.create(lease("b"))
        assert len((await client.list(coordination_pb2.Lease, "default")).items) == 2


async def test_a_long_list_comes_in_pages_at_one_revision(apiserver, monkeypatch):
    monkeypatch.setattr("h9s.client.client.PAGE_SIZE", 10)
    async with apiserver.client(cls=BatchingClient) as client:
        await asyncio.gather(*(client.create(lease(f"l{number:03}")) for number in range(95)))
        listing = await client.list(coordination_pb2.Lease, "default")
        assert [item.metadata.name for item in listing.items] == [f"l{number:03}" for number in range(95)]
        assert listing.revision == apiserver.store.revision


async def test_a_watch_tells_everything_once_and_what_belongs_together_together(apiserver):
    async with apiserver.client() as client:
        start = apiserver.store.revision
        await client.commit([operations.create(lease("a")), operations.create(lease("b"))])
        await client.update(lease("a", "another"))
        await client.delete(coordination_pb2.Lease, "b")
        seen = []
        changes = client.watch(coordination_pb2.Lease, after_revision=start, previous=True)
        async with asyncio.timeout(10), aclosing(changes):
            async for batch in changes:
                seen += [
                    (
                        batch.revision - start,
                        event.type,
                        event.object.metadata.name,
                        event.previous is not None,
                    )
                    for event in batch.events
                ]
                if len(seen) == 4:
                    break
        assert [entry[1:] for entry in seen] == [
            (EventType.ADDED, "a", False),
            (EventType.ADDED, "b", False),
            (EventType.MODIFIED, "a", True),
            (EventType.DELETED, "b", True),
        ]


async def test_revisions_that_are_gone_or_to_come_are_typed_errors(apiserver):
    async with apiserver.client() as client:
        with pytest.raises(FutureRevisionError):
            await client.list(coordination_pb2.Lease, revision=apiserver.store.revision + 100)
        with pytest.raises((CompactedError, NotFoundError)):
            await client.get(coordination_pb2.Lease, "a", revision=1)


async def test_an_informer_follows_a_busy_collection(apiserver):
    async with apiserver.client(cls=BatchingClient) as client:
        await client.create(lease("before"))
        informer = Informer(client, coordination_pb2.Lease, namespace="default")
        changes: list[tuple[bool, bool]] = []
        informer.add_handler(lambda old, new: changes.append((old is not None, new is not None)))
        following = asyncio.create_task(informer.run())
        await informer.synced.wait()
        await asyncio.gather(*(client.create(lease(f"l{number}")) for number in range(300)))
        await asyncio.gather(*(client.update(lease(f"l{number}", "x")) for number in range(200)))
        await asyncio.gather(*(client.delete(coordination_pb2.Lease, f"l{number}") for number in range(100)))
        await until(lambda: informer.revision >= apiserver.store.revision)
        listing = await client.list(coordination_pb2.Lease, "default")
        assert {obj.metadata.name: obj for obj in informer.items()} == {
            obj.metadata.name: obj for obj in listing.items
        }
        assert len(changes) == 1 + 300 + 200 + 100
        following.cancel()


async def test_a_standby_takes_over_when_the_leader_stops(apiserver):
    terms: list[str] = []
    timings = LeaseTimings(duration=3.0, renew_deadline=2.0, renew_interval=0.2)

    async def candidate(identity):
        async with apiserver.client(identity, pki.ROLE_COMPONENT) as client:

            async def lead():
                terms.append(identity)
                await asyncio.Event().wait()

            await LeaderElection(client, "scheduler", identity, timings=timings).run(lead)

    first = asyncio.create_task(candidate("one"))
    await until(lambda: terms == ["one"])
    second = asyncio.create_task(candidate("two"))
    await asyncio.sleep(0)
    first.cancel()
    await until(lambda: terms == ["one", "two"], seconds=2.5)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_events_are_written_counted_and_survive_refused_neighbours(apiserver):
    async with apiserver.client("scheduler", pki.ROLE_COMPONENT) as client:
        recorder = EventRecorder(client, "scheduler")
        web = core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name="web", namespace="default", uid="u1"))
        lost = core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name="lost", namespace="nowhere", uid="u2"))
        node = core_pb2.Node(metadata=meta_pb2.ObjectMeta(name="n1", uid="u3"))
        for _ in range(2):
            recorder.record(web, "Normal", "Scheduled", "to n1")
            recorder.record(lost, "Warning", "FailedScheduling", "0/0 nodes")
            recorder.record(node, "Normal", "RegisteredNode", "n1")
            await recorder.flush()
        events = (await client.list(core_pb2.Event)).items
    assert {(event.metadata.namespace, event.reason, event.count) for event in events} == {
        ("default", "Scheduled", 2),
        ("default", "RegisteredNode", 2),
    }


async def test_a_machine_joins_with_a_token_and_is_known_by_its_name(apiserver):
    async with apiserver.client() as admin:
        created = await admin.create_join_token()
    key, request = pki.make_csr("n9")
    token = pki.JoinToken.parse(created.token)
    answer = await join(
        apiserver.join_address,
        token,
        node_name="n9",
        certificate_signing_request=request,
        clock=SystemClock(),
        rng=system_random(),
    )
    assert pki.Identity.of_certificate(answer.certificate_pem) == pki.Identity("n9", pki.ROLE_NODE)
    config = ClientConfig((apiserver.address,), answer.ca_pem, answer.certificate_pem, key)
    async with Client(config, clock=SystemClock(), rng=system_random()) as client:
        assert (await client.cluster_status()).replica_id == "r1"
