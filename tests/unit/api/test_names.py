"""Names follow the rules of DNS and of Kubernetes' labels."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from h9s.api import names

texts = st.text(st.sampled_from("aZ0-._/ é\n"), max_size=12) | st.from_regex(
    r"[a-z0-9.-]{60,66}", fullmatch=True
)


@given(texts)
def test_a_subdomain_is_labels_joined_by_dots(text):
    parts = text.split(".")
    proper = all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", part) for part in parts)
    assert (not names.dns_subdomain_fault(text)) is proper
    assert (not names.dns_label_fault(text)) is (proper and len(parts) == 1 and len(text) <= 63)


@given(texts, texts)
def test_a_label_key_is_a_name_with_an_optional_subdomain_before_it(prefix, name):
    proper_name = bool(name) and not names.label_value_fault(name)
    if "/" not in name:
        assert (not names.label_key_fault(name)) is proper_name
        proper_prefix = not names.dns_subdomain_fault(prefix)
        assert (not names.label_key_fault(f"{prefix}/{name}")) is (proper_name and proper_prefix)


@given(texts)
def test_a_fault_quotes_the_name(text):
    for fault in (names.dns_label_fault, names.label_key_fault, names.port_name_fault, names.env_name_fault):
        message = fault(text)
        assert not message or message.startswith(repr(text))


def test_a_random_suffix_is_part_of_a_name():
    rng = random.Random(1)
    suffixes = {names.random_suffix(rng) for _ in range(100)}
    assert len(suffixes) == 100
    assert all(len(suffix) == 5 and not names.dns_label_fault(suffix) for suffix in suffixes)


def test_a_long_hostile_name_is_judged_quickly():
    assert names.dns_subdomain_fault("a-" * 1_000_000)
    assert names.label_key_fault("a." * 1_000_000)
    assert names.dns_subdomain_fault("a" + "-" * 251 + "!")
    assert names.port_name_fault("-" * 1_000_000)
    assert names.env_name_fault("a" * 1_000_000 + "!")
