from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.arguments import normalize

FLAGS = {"--wait": "--no-wait", "--force": None}


@pytest.mark.parametrize(
    ("given_arguments", "expected"),
    [
        (["-o=yaml"], ["-o", "yaml"]),
        (["-l=app=web"], ["-l", "app=web"]),
        (["-oyaml", "-o", "yaml"], ["-oyaml", "-o", "yaml"]),
        (["--wait=false"], ["--no-wait"]),
        (["--wait=TRUE"], ["--wait"]),
        (["--force=false"], []),
        (["--force=true"], ["--force"]),
        (["--replicas=3", "app=web"], ["--replicas=3", "app=web"]),
        (["--force=false", "--", "-o=yaml", "--wait=false"], ["--", "-o=yaml", "--wait=false"]),
    ],
)
def test_kubectls_spellings_become_clicks(given_arguments: list[str], expected: list[str]) -> None:
    assert normalize(given_arguments, flags=FLAGS) == expected


def test_a_flag_takes_booleans_only() -> None:
    with pytest.raises(ValueError, match="--wait=soon: the value must be true or false"):
        normalize(["--wait=soon"], flags=FLAGS)


@given(st.lists(st.text(st.sampled_from("-=owx"), max_size=6)))
def test_what_follows_two_dashes_is_left_alone(words: list[str]) -> None:
    assert normalize(["--", *words], flags=FLAGS) == ["--", *words]


@given(st.lists(st.text(st.sampled_from("abc=./"), max_size=6)))
def test_what_is_no_option_is_left_alone(words: list[str]) -> None:
    assert normalize(words, flags=FLAGS) == words
