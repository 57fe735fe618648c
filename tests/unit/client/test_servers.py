import random

import pytest

from h9s.client.servers import Servers


class ManualClock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def servers(clock):
    return Servers(["a", "b", "c"], clock=clock, rng=random.Random(1))


def test_different_clients_start_with_different_servers(clock):
    starts = {Servers(["a", "b", "c"], clock=clock, rng=random.Random(n)).for_reading() for n in range(20)}
    assert starts == {"a", "b", "c"}


def test_each_server_comes_once_in_a_round(servers):
    tried: list[str] = []
    while (server := servers.for_writing(tried)) is not None:
        tried.append(server)
    assert sorted(tried) == ["a", "b", "c"]


def test_the_leader_takes_writes_and_the_last_that_answered_reads(servers):
    servers.leads("b")
    servers.answered("c")
    assert (servers.for_writing(), servers.for_reading()) == ("b", "c")


def test_a_redirect_is_followed(servers):
    servers.redirect("a", "d")
    assert servers.for_writing() == "d"
    assert servers.known == ("a", "b", "c", "d")


def test_a_server_that_failed_is_avoided_for_as_long_as_that_took(servers, clock):
    servers.leads("a")
    servers.failed("a", after_seconds=1.5)
    assert servers.for_writing() == "b"
    assert servers.for_writing({"b", "c"}) is None
    clock.now += 1.6
    assert servers.for_writing({"b", "c"}) == "a"


def test_a_failed_server_that_another_calls_the_leader_is_tried_at_once(servers):
    servers.failed("a", after_seconds=1.5)
    servers.redirect("b", "a")
    assert servers.for_writing({"b"}) == "a"


def test_a_failure_that_showed_at_once_is_soon_forgotten(servers, clock):
    servers.answered("a")
    servers.failed("a", after_seconds=0.0)
    assert servers.for_reading() == "b"
    assert servers.for_reading({"b", "c"}) is None
    clock.now += 0.03
    assert servers.for_reading({"b", "c"}) == "a"


def test_when_all_have_failed_they_are_tried_all_the_same(servers):
    for server in servers.known:
        servers.failed(server, after_seconds=2.0)
    assert servers.for_reading() in servers.known


def test_a_leader_that_denies_it_is_believed(servers):
    servers.leads("a")
    servers.redirect("a", "")
    assert servers.leader == ""
    servers.leads("a")
    servers.redirect("b", "")
    assert servers.leader == "a"


def test_an_answer_ends_the_avoidance(servers):
    servers.failed("a", after_seconds=2.0)
    servers.answered("a")
    assert servers.for_reading() == "a"


def test_no_servers_at_all_is_an_error(clock):
    with pytest.raises(ValueError, match="at least one"):
        Servers([], clock=clock, rng=random.Random(1))
