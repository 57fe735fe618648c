import asyncio

import pytest

from h9s._pb import coordination_pb2
from h9s.client import LeaderElection, LeaseTimings
from h9s.client.election import NAMESPACE
from h9s.errors import ForbiddenError
from h9s.testing.fake_api import FakeApi
from tests.unit.client.virtual import new_client, until, virtual


def now():
    return asyncio.get_running_loop().time()


class Candidate:
    """A process that takes part in an election through a connection of its own."""

    def __init__(self, api, identity, **kwargs):
        self.client = new_client(api, seed=ord(identity), servers=(api.servers[0],))
        self.election = LeaderElection(self.client, "scheduler", identity, **kwargs)
        self.terms = []
        self.task = asyncio.create_task(self.election.run(self.lead))

    async def lead(self):
        started = now()
        try:
            await asyncio.Event().wait()
        finally:
            self.terms.append((started, now()))

    @property
    def leads(self):
        return self.election.is_leading

    async def stop(self):
        self.task.cancel()
        await asyncio.wait([self.task])


def holder(api):
    (stored,) = api.objects.objects.values()
    return coordination_pb2.Lease.FromString(stored.value.value).spec.holder_identity


@virtual
async def test_one_of_two_leads():
    api = FakeApi()
    first, second = Candidate(api, "a"), Candidate(api, "b")
    await until(lambda: first.leads or second.leads)
    for _ in range(200):
        await asyncio.sleep(0.1)
        assert first.leads != second.leads
    assert holder(api) == ("a" if first.leads else "b")
    await first.stop()
    await second.stop()


@virtual
async def test_a_leader_that_stops_hands_over_at_once():
    api = FakeApi()
    first = Candidate(api, "a")
    await until(lambda: first.leads)
    second = Candidate(api, "b")
    await asyncio.sleep(5.0)
    stopped = now()
    await first.stop()
    await until(lambda: second.leads)
    assert now() - stopped < 0.1
    await second.stop()
    assert holder(api) == ""


@virtual
async def test_a_leader_that_dies_is_followed_when_its_lease_has_run_out():
    api = FakeApi()
    first = Candidate(api, "a", timings=LeaseTimings(duration=3.0))
    await until(lambda: first.leads)
    second = Candidate(api, "b", timings=LeaseTimings(duration=3.0))
    await asyncio.sleep(5.0)
    kill(first)
    died = now()
    await until(lambda: second.leads)
    assert 2.4 < now() - died < 3.2
    await second.stop()


def kill(candidate):
    """End a candidate's process as SIGKILL does: it releases nothing."""

    async def nothing():
        pass

    candidate.election._release = nothing
    candidate.task.cancel()


@virtual
async def test_a_leader_that_cannot_renew_stops_before_another_may_begin():
    api = FakeApi(("a:1", "b:1"))
    first = Candidate(api, "a")
    await until(lambda: first.leads)
    second = Candidate(api, "b")
    second.client._calls.servers._known = ["b:1"]
    second.client._calls.servers._reader = "b:1"
    second.client._calls.servers._leader = ""
    await asyncio.sleep(5.0)
    # Cut the first candidate off; the cluster goes on with another leader.
    first.client._transport = cut = FakeApi(("a:1",))
    first.client._calls.transport = cut
    cut.kill("a:1")
    api.kill("a:1")
    api.leader = "b:1"
    await until(lambda: second.leads)
    assert first.terms
    assert first.terms[0][1] < now() - 0.5
    await first.stop()
    await second.stop()


@virtual
async def test_a_failover_of_the_apiservers_costs_nobody_the_lease():
    api = FakeApi()
    first = Candidate(api, "a")
    first.client._calls.servers._known = list(api.servers)
    await until(lambda: first.leads)
    for victim, heir in [("a:1", "b:1"), ("b:1", "c:1"), ("c:1", "a:1")]:
        api.kill(victim)
        api.leader = ""
        await asyncio.sleep(0.6)
        api.leader = heir
        await asyncio.sleep(3.0)
        api.restart(victim)
    assert first.leads
    assert not first.terms
    await first.stop()


@virtual
async def test_a_lease_taken_by_force_ends_leading_and_the_loser_stands_by():
    api = FakeApi()
    first = Candidate(api, "a")
    await until(lambda: first.leads)
    lease = await first.client.get(coordination_pb2.Lease, "scheduler", NAMESPACE)
    lease.spec.holder_identity = "somebody"
    lease.spec.lease_duration_seconds = 3
    api.objects.put(lease)
    api.notify()
    await until(lambda: bool(first.terms), seconds=1.0)
    taken = now()
    await until(lambda: first.leads)
    assert now() - taken > 2.0
    await first.stop()


@virtual
async def test_a_deleted_lease_is_made_again():
    api = FakeApi()
    first = Candidate(api, "a")
    await until(lambda: first.leads)
    second = Candidate(api, "b")
    await asyncio.sleep(2.0)
    api.objects.remove(await first.client.get(coordination_pb2.Lease, "scheduler", NAMESPACE))
    api.notify()
    await until(lambda: bool(first.terms))
    await until(lambda: first.leads or second.leads)
    await asyncio.sleep(5.0)
    assert first.leads != second.leads
    await first.stop()
    await second.stop()


@virtual
async def test_the_same_identity_takes_its_own_lease_again_at_once():
    api = FakeApi()
    first = Candidate(api, "a")
    await until(lambda: first.leads)
    kill(first)
    again = Candidate(api, "a")
    started = now()
    await until(lambda: again.leads)
    assert now() - started < 0.1
    await again.stop()


@virtual
async def test_it_ends_when_leading_ends_and_gives_the_lease_up():
    api = FakeApi()
    async with new_client(api) as client:
        election = LeaderElection(client, "once", "a")

        async def lead():
            assert election.is_leading
            await asyncio.sleep(10.0)

        await election.run(lead)
        assert holder(api) == ""


@virtual
async def test_an_error_of_the_leaders_work_comes_out():
    api = FakeApi()
    async with new_client(api) as client:

        async def lead():
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup) as caught:
            await LeaderElection(client, "once", "a").run(lead)
        assert caught.group_contains(ZeroDivisionError)
        assert holder(api) == ""


@virtual
async def test_a_candidate_that_may_not_take_part_says_so():
    api = FakeApi()

    def refuse(server, method, request):
        raise ForbiddenError("no")

    api.intercept = refuse
    async with new_client(api) as client:
        with pytest.raises(ForbiddenError):
            await LeaderElection(client, "once", "a").run(asyncio.Event().wait)


def test_timings_that_allow_two_leaders_are_refused():
    with pytest.raises(ValueError, match="renew_deadline < duration"):
        LeaseTimings(duration=2.0, renew_deadline=2.0)
