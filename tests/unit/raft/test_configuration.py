"""What a change of the members makes of them, and which changes are refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.errors import AlreadyExistsError, NotFoundError, RefusedError
from h9s.raft.configuration import Configuration, Member


def members(*names: str) -> Configuration:
    return Configuration.of(
        Member(id=name, api_address=f"{name}:1", peer_address=f"{name}:2") for name in names
    )


THREE = members("r1", "r2", "r3")


def with_fourth(before: Configuration, *, name: str = "r4", incarnation: int = 0) -> Configuration:
    return before.with_learner(name, api_address="r4:1", peer_address="r4:2", incarnation=incarnation)


MEMBERS = st.builds(
    Member,
    id=st.sampled_from(["r1", "r2", "r3", "r4", "r5"]),
    incarnation=st.integers(0, (1 << 63) - 1),
    voter=st.booleans(),
    api_address=st.text(max_size=5),
    peer_address=st.text(max_size=5),
    promote=st.booleans(),
)
CONFIGURATIONS = st.lists(MEMBERS, max_size=5, unique_by=lambda member: member.id).map(Configuration.of)


@given(CONFIGURATIONS)
def test_what_is_encoded_is_decoded(configuration):
    assert Configuration.decode(configuration.encode()) == configuration


def test_a_new_member_learns_and_counts_nowhere():
    after = with_fourth(THREE, incarnation=7)
    assert (after.voters, after.learners) == (("r1", "r2", "r3"), ("r4",))
    assert after.get("r4") == Member(
        id="r4", incarnation=7, voter=False, api_address="r4:1", peer_address="r4:2"
    )
    assert with_fourth(after, incarnation=8) == after, "asking again changes nothing"


def test_an_id_is_taken_once():
    with pytest.raises(AlreadyExistsError, match="r3 is a member already, at r3:1"):
        with_fourth(THREE, name="r3")


def test_a_learner_becomes_a_voter():
    after = with_fourth(THREE, incarnation=7).with_voter("r4")
    assert after.voters == ("r1", "r2", "r3", "r4")
    assert after.with_voter("r4") == after


def test_one_that_was_never_heard_from_cannot_become_a_voter():
    with pytest.raises(RefusedError, match="init --join"):
        with_fourth(THREE).with_voter("r4")


def test_a_member_is_taken_out():
    assert THREE.without("r2").voters == ("r1", "r3")
    assert THREE.without("r9") == THREE


def test_who_was_taken_out_is_remembered_and_never_comes_back_with_the_same_data():
    four = with_fourth(THREE, incarnation=7)
    after = four.without("r4").without("r3").with_incarnation("r2", 5)
    assert after.retired == (("r4", 7), ("r3", 0), ("r2", 0))
    assert Configuration.decode(after.encode()) == after
    with pytest.raises(RefusedError, match="init --join"):
        with_fourth(after, incarnation=7)
    with pytest.raises(RefusedError, match="init --join"):
        with_fourth(after).with_incarnation("r4", 7)
    assert with_fourth(after, incarnation=8).learners == ("r2", "r4")


def test_one_that_was_never_heard_from_leaves_nothing_behind():
    assert with_fourth(THREE).without("r4") == THREE
    assert with_fourth(THREE).with_incarnation("r4", 7).retired == ()


def test_the_oldest_of_those_that_were_taken_out_are_forgotten():
    after = THREE
    for incarnation in range(1, 300):
        after = with_fourth(after, incarnation=incarnation).without("r4")
    assert after.retired == tuple(("r4", incarnation) for incarnation in range(200, 300))


def test_the_last_voter_stays():
    alone = with_fourth(members("r1"))
    with pytest.raises(RefusedError, match="last voter"):
        alone.without("r1")
    with pytest.raises(RefusedError, match="last voter"):
        alone.with_incarnation("r1", 5)


def test_a_voter_that_lost_its_data_learns_and_will_be_a_voter_again():
    after = THREE.with_incarnation("r2", 5)
    assert after.get("r2") == Member(
        id="r2", incarnation=5, voter=False, api_address="r2:1", peer_address="r2:2", promote=True
    )
    assert after.with_incarnation("r2", 5) == after
    again = after.with_incarnation("r2", 6).get("r2")
    assert again is not None
    assert again.promote
    restored = after.with_voter("r2").get("r2")
    assert restored is not None
    assert (restored.voter, restored.promote, restored.incarnation) == (True, False, 5)


def test_a_learner_that_lost_its_data_goes_on_learning():
    after = with_fourth(THREE, incarnation=7).with_incarnation("r4", 8).get("r4")
    assert after is not None
    assert (after.incarnation, after.voter, after.promote) == (8, False, False)


def test_an_address_changes_nothing_else():
    after = THREE.with_addresses("r2", api_address="new:1", peer_address="").get("r2")
    assert after == Member(id="r2", api_address="new:1", peer_address="r2:2")


@pytest.mark.parametrize("change", ["with_voter", "with_addresses", "with_incarnation"])
def test_a_stranger_cannot_be_changed(change):
    arguments = {"with_voter": (), "with_incarnation": (4,), "with_addresses": ()}[change]
    keywords = {"api_address": "", "peer_address": ""} if change == "with_addresses" else {}
    with pytest.raises(NotFoundError, match="there are r1, r2, r3"):
        getattr(THREE, change)("r9", *arguments, **keywords)


@pytest.mark.parametrize(
    ("reachable", "missing"),
    [("r1 r2 r3", ()), ("r1 r2", ()), ("r1", ("r2", "r3")), ("r1 r4", ("r2", "r3"))],
)
def test_who_is_missing_for_a_majority(reachable, missing):
    assert with_fourth(THREE).missing_for_majority(reachable.split()) == missing
    assert members("r1", "r2").missing_for_majority({"r1"}) == ("r2",)


@given(CONFIGURATIONS, st.data())
def test_any_majority_before_a_change_and_any_after_it_have_a_member_in_common(before, data):
    """A member is an id with its incarnation: the former life of a replica is another member."""
    name = data.draw(st.sampled_from(["r1", "r2", "r3", "r4", "r5"]))
    change = data.draw(st.sampled_from(["learner", "voter", "without", "incarnation", "addresses"]))
    incarnation = data.draw(st.integers(1, 9))
    try:
        after = {
            "learner": lambda: with_fourth(before, name=name, incarnation=incarnation),
            "voter": lambda: before.with_voter(name),
            "without": lambda: before.without(name),
            "incarnation": lambda: before.with_incarnation(name, incarnation),
            "addresses": lambda: before.with_addresses(name, api_address="a", peer_address="p"),
        }[change]()
    except (RefusedError, NotFoundError, AlreadyExistsError):
        return
    for old in majorities(before):
        for new in majorities(after):
            assert old & new


def majorities(configuration: Configuration) -> list[set[tuple[str, int]]]:
    voters = [(member.id, member.incarnation) for member in configuration.members if member.voter]
    return [
        set(some)
        for size in range(len(voters) // 2 + 1, len(voters) + 1)
        for some in itertools.combinations(voters, size)
    ]


@pytest.mark.parametrize("taken", ["r2:1", "r2:2"])
def test_an_address_that_another_member_has_is_refused(taken: str):
    with pytest.raises(AlreadyExistsError, match=f"{taken} belongs to replica r2"):
        THREE.with_learner("r4", api_address=taken, peer_address="r4:2")
    with pytest.raises(AlreadyExistsError, match="belongs to replica r2"):
        THREE.with_learner("r4", api_address="r4:1", peer_address=taken)
