"""The checker: histories that hold, histories that must not, and both against trying every order."""

from __future__ import annotations

import itertools
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from h9s.sim.linearizability import check, divide
from h9s.sim.operations import Fate, Operation, OperationLog, Value

A, B = b"a", b"b"


def op(invoked, returned, *, expected=(), written=(), fate=Fate.DONE, request=b""):
    return Operation(
        client=f"c{invoked}",
        invoked=invoked,
        returned=math.inf if fate is Fate.UNKNOWN else returned,
        expected=dict(expected),
        written=dict(written),
        fate=fate,
        request=request,
    )


def write(invoked, returned, value, key="x", **rest):
    return op(invoked, returned, written={key: value}, **rest)


def read(invoked, returned, value, key="x"):
    return op(invoked, returned, expected={key: value})


def cas(invoked, returned, old, new, key="x", **rest):
    return op(invoked, returned, expected={key: old}, written={key: new}, **rest)


class TestWhatHolds:
    def test_nothing(self):
        assert check([]).holds

    def test_one_after_the_other(self):
        assert check([read(1, 2, None), write(3, 4, A), read(5, 6, A), write(7, 8, B), read(9, 10, B)]).holds

    def test_a_read_beside_a_write_sees_the_old_or_the_new(self):
        for seen in (None, A):
            assert check([write(1, 4, A), read(2, 3, seen)]).holds

    def test_of_two_that_swap_at_once_one_wins(self):
        assert check(
            [write(1, 2, A), cas(3, 6, A, B), cas(4, 5, A, b"c", fate=Fate.REFUSED), read(7, 8, B)]
        ).holds

    def test_an_unknown_write_may_have_been_done(self):
        assert check([write(1, 0, A, fate=Fate.UNKNOWN), read(2, 3, A), read(4, 5, A)]).holds

    def test_an_unknown_write_may_be_done_late(self):
        assert check([write(1, 0, A, fate=Fate.UNKNOWN), read(2, 3, None), read(4, 5, A)]).holds

    def test_an_unknown_write_may_never_be_done(self):
        assert check(
            [write(1, 0, A, fate=Fate.UNKNOWN), read(2, 3, None), write(4, 5, B), read(6, 7, B)]
        ).holds

    def test_what_was_there_before(self):
        assert check([read(1, 2, A)], initial={"x": A}).holds
        assert not check([read(1, 2, None)], initial={"x": A}).holds

    def test_a_write_of_what_is_there_already_may_come_later_all_the_same(self):
        assert check([write(1, 3, None), write(2, 4, A), read(5, 6, None)]).holds


class TestWhatDoesNot:
    def fails(self, *history):
        verdict = check(history)
        assert verdict.violations
        assert not verdict.undecided

    def test_a_stale_read(self):
        self.fails(write(1, 2, A), write(3, 4, B), read(5, 6, A))

    def test_a_lost_write(self):
        self.fails(write(1, 2, A), read(3, 4, None))

    def test_a_read_of_what_nobody_wrote(self):
        self.fails(write(1, 2, A), read(3, 4, B))

    def test_a_read_before_the_write_began(self):
        self.fails(read(1, 2, A), write(3, 4, A))

    def test_two_readers_that_disagree_on_the_order(self):
        self.fails(write(1, 10, A), write(2, 11, B), read(3, 4, A), read(5, 6, B), read(7, 8, A))

    def test_going_back_during_one_write(self):
        self.fails(write(1, 10, A), read(2, 3, A), read(4, 5, None))

    def test_two_swaps_from_the_same_value(self):
        self.fails(write(1, 2, A), cas(3, 6, A, B), cas(4, 5, A, b"c"))

    def test_a_refusal_without_a_reason(self):
        self.fails(write(1, 2, A), cas(3, 4, A, B, fate=Fate.REFUSED))

    def test_a_refused_write_that_was_done(self):
        self.fails(cas(1, 2, A, B, fate=Fate.REFUSED), read(3, 4, B))

    def test_an_unknown_write_that_is_undone(self):
        self.fails(write(1, 0, A, fate=Fate.UNKNOWN), read(2, 3, A), read(4, 5, None))

    def test_an_unknown_write_that_is_done_twice(self):
        self.fails(
            write(1, 0, A, fate=Fate.UNKNOWN), read(2, 3, A), write(4, 5, B), read(6, 7, B), read(8, 9, A)
        )

    def test_half_a_transaction(self):
        both = op(1, 2, written={"x": A, "y": A})
        self.fails(both, read(3, 4, A), read(5, 6, None, key="y"))

    def test_a_torn_look_at_two_keys(self):
        history = [op(1, 2, written={"x": A, "y": A}), op(3, 6, written={"x": B, "y": B})]
        assert check([*history, op(4, 5, expected={"x": B, "y": B})]).holds
        self.fails(*history, op(4, 5, expected={"x": A, "y": B}))

    def test_write_skew(self):
        """Each saw the other's key empty and took its own: as snapshot isolation would allow."""
        self.fails(
            op(1, 4, expected={"x": None, "y": None}, written={"x": A}),
            op(2, 3, expected={"x": None, "y": None}, written={"y": B}),
        )

    def test_the_verdict_says_where_it_is_stuck(self):
        (violation,) = check([write(1, 2, A), read(3, 4, B)]).violations
        assert "after 1 of 2 operations" in violation
        assert "c3 x == b'" not in violation
        assert "c3 x == 'b': done" in violation


class TestParts:
    def test_keys_that_nothing_connects_are_judged_apart(self):
        history = [write(1, 2, A), write(3, 4, A, key="y"), op(5, 6, expected={"y": A, "z": None})]
        assert sorted(len(part) for part in divide(history)) == [1, 2]

    def test_many_keys_cost_little(self):
        history = []
        for number in range(2000):
            key = f"k{number % 50}"
            history.append(write(number * 3, number * 3 + 40, b"%d" % number, key=key))
        assert check(history).holds


class TestRequests:
    def test_a_write_that_was_tried_again_took_effect_between_first_call_and_first_answer(self):
        first = write(1, 0, A, fate=Fate.UNKNOWN, request=b"r")
        again = write(6, 7, A, request=b"r")
        assert check([first, read(2, 3, A), again]).holds
        assert check([first, read(2, 3, None), read(4, 5, None), again, read(8, 9, A)]).holds
        assert check([first, again, read(8, 9, None)]).violations

    def test_a_repeated_answer_is_no_second_write(self):
        first, again = write(1, 2, A, request=b"r"), write(5, 6, A, request=b"r")
        assert check([first, write(3, 4, B), again, read(7, 8, B)]).holds
        assert check([first, write(3, 4, B), again, read(7, 8, A)]).violations

    def test_what_had_expired_never_happened(self):
        late = write(1, 2, A, request=b"r", fate=Fate.EXPIRED)
        assert check([late, read(3, 4, None)]).holds
        assert check([late, read(3, 4, A)]).violations


def test_a_search_without_end_is_no_verdict():
    history = [write(number, 0, b"%d" % number, fate=Fate.UNKNOWN) for number in range(20)]
    history += [read(30, 31, b"never written")]
    verdict = check(history, limit=1000)
    assert not verdict.holds
    assert not verdict.violations
    assert verdict.undecided


def test_long_histories_with_open_writes_are_decided_quickly():
    log, rng, value = OperationLog(), random.Random(5), None
    for number in range(5000):
        handle = log.begin("c", written={"x": b"%d" % number})
        if number % 250 == 0:
            log.end(handle, Fate.UNKNOWN)
            if rng.random() < 0.5:
                value = b"%d" % number
        else:
            log.end(handle, Fate.DONE)
            value = b"%d" % number
        handle = log.begin("d")
        log.end(handle, Fate.DONE, found={"x": value})
    assert check(log.operations(), limit=100_000).holds


# --- against every order -----------------------------------------------------------------------


def holds_in_some_order(history) -> bool:
    """By trying them all."""
    definite = [one for one in history if one.fate is not Fate.UNKNOWN]
    unknown = [one for one in history if one.fate is Fate.UNKNOWN]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations([*definite, *chosen]):
                if respects_time(order) and replays(order):
                    return True
    return False


def respects_time(order) -> bool:
    return not any(later.returned < earlier.invoked for earlier, later in itertools.combinations(order, 2))


def replays(order) -> bool:
    state: dict[str, Value] = {}
    for one in order:
        met = all(state.get(key) == value for key, value in one.expected.items())
        if met == (one.fate is Fate.REFUSED):
            return False
        if one.fate is not Fate.REFUSED:
            state.update(one.written)
    return True


values = st.sampled_from([None, A, B])
keyed = st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2)


@st.composite
def histories(draw):
    count = draw(st.integers(1, 5))
    moments = draw(st.permutations(range(2 * count)))
    history = []
    for number in range(count):
        invoked, returned = sorted(moments[2 * number : 2 * number + 2])
        expected, written = draw(keyed), draw(keyed)
        fates = [Fate.DONE, Fate.UNKNOWN] if written else [Fate.DONE]
        fate = draw(st.sampled_from([*fates, Fate.REFUSED] if expected else fates))
        history.append(op(invoked, returned, expected=expected, written=written, fate=fate))
    return history


@settings(max_examples=1000, deadline=None)
@given(histories())
def test_it_agrees_with_trying_every_order(history):
    verdict = check(history)
    assert verdict.holds == holds_in_some_order(history)
    assert not verdict.undecided


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_one_copy_with_instants_would_answer_holds(seed):
    """Operations overlap at random; each takes effect at an instant of its own between call and answer."""
    rng = random.Random(seed)
    history: list[Operation] = []
    state: dict[str, Value] = {}
    for number in range(60):
        moment = 10 * number
        invoked, returned = moment - rng.randint(0, 35), moment + rng.randint(1, 35)
        keys = rng.sample(["x", "y", "z"], rng.choice((1, 1, 2)))
        found = {key: state.get(key) for key in keys}
        expected = found if rng.random() < 0.7 else {key: rng.choice((None, A, B)) for key in keys}
        met = expected == found
        written = dict.fromkeys(keys, b"%d" % number) if rng.random() < 0.5 or not met else {}
        unknown = bool(written) and rng.random() < 0.1
        if met:
            state.update(written)
        fate = Fate.UNKNOWN if unknown else Fate.DONE if met else Fate.REFUSED
        history.append(op(invoked, returned, expected=expected, written=written, fate=fate))
    assert check(history).holds
