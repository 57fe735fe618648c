from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.api.kinds import KINDS, Kind
from h9s.cli.targets import parse_named_targets, parse_target, parse_targets
from h9s.errors import H9sError, InvalidError, UsageError


def _names(*arguments: str) -> list[tuple[str, str]]:
    return [(target.kind.kind, target.name) for target in parse_targets(arguments)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pods"], [("Pod", "")]),
        (["po", "a", "b"], [("Pod", "a"), ("Pod", "b")]),
        (["deploy,rs"], [("Deployment", ""), ("ReplicaSet", "")]),
        (["pod/a", "deploy/b"], [("Pod", "a"), ("Deployment", "b")]),
        (["Deployment.apps/b"], [("Deployment", "b")]),
        (["pods", "a", "a"], [("Pod", "a")]),
        (["all"], [("Pod", ""), ("Deployment", ""), ("ReplicaSet", "")]),
        (["pods,all"], [("Pod", ""), ("Deployment", ""), ("ReplicaSet", "")]),
    ],
)
def test_kinds_and_names(arguments: list[str], expected: list[tuple[str, str]]) -> None:
    assert _names(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a kind"),
        (["pod/a", "b"], "write all of them as KIND/NAME"),
        (["pod/"], "not of the form KIND/NAME"),
        (["/a"], "not of the form KIND/NAME"),
        (["pod/a/b"], "not of the form KIND/NAME"),
        (["pods,"], "a kind is missing"),
        (["pods,deploy/a"], "one kind only"),
        (["pods", ""], "must not be empty"),
    ],
)
def test_what_cannot_be_understood_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_targets(arguments)


def test_an_unknown_kind_comes_with_a_suggestion() -> None:
    with pytest.raises(InvalidError, match="unknown kind 'deploymnet', did you mean 'Deployment'"):
        parse_targets(["deploymnet"])


def test_commands_for_one_object_take_one() -> None:
    with pytest.raises(UsageError, match="name the pod"):
        parse_named_targets(["pods"])
    with pytest.raises(UsageError, match="name one object, not 2: pod/a, pod/b"):
        parse_target(["pod", "a", "b"])


@given(st.lists(st.text(st.sampled_from("pods/,.a"), max_size=8), max_size=4))
def test_any_arguments_are_understood_or_refused(arguments: list[str]) -> None:
    try:
        targets = parse_targets(arguments)
    except H9sError:
        return
    assert targets
    assert len(targets) == len(set(targets))


@given(st.sampled_from(KINDS), st.text(st.sampled_from("abc-1"), min_size=1, max_size=5))
def test_both_forms_mean_the_same(kind: Kind, name: str) -> None:
    for word in kind.names:
        assert parse_targets([word, name]) == parse_targets([f"{word}/{name}"])
