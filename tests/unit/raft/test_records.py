"""The journal's format: what was written is read back, and nothing else ever is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s.raft import records
from h9s.raft.errors import JournalCorruptError

IDENTITY = "test/r1"
NUMBERS = st.integers(0, 2**63)
CONTENT = st.lists(
    st.tuples(st.sampled_from((records.ENTRY, records.HARD_STATE)), NUMBERS, NUMBERS, st.binary(max_size=40)),
    max_size=6,
)


def encoded(content):
    body = b"".join(records.encode_record(*record) for record in content)
    return records.encode_header(IDENTITY) + body


def decoded(data):
    read = list(records.decode_segment(data, identity=IDENTITY, name="segment"))
    return [(record.kind, record[1], record.term, record.payload) for record in read[1:]]


@given(CONTENT, st.integers(0, 100))
@settings(deadline=None)
def test_what_was_written_is_read_back_whatever_was_reserved_behind_it(content, reserved):
    data = encoded(content) + bytes(reserved)
    assert decoded(data) == content
    assert records.is_blank(data, len(data) - reserved)


@given(CONTENT, st.data())
@settings(deadline=None)
def test_what_was_cut_off_is_read_up_to_the_last_whole_record(content, data):
    whole = encoded(content)
    header = len(records.encode_header(IDENTITY))
    cut = data.draw(st.integers(header, len(whole)))
    read = decoded(whole[:cut])
    assert read == content[: len(read)]
    assert len(encoded(content[: len(read) + 1])) > cut or read == content


@given(CONTENT.filter(bool), st.data())
@settings(deadline=None)
def test_a_flipped_bit_is_never_read_as_something_else(content, data):
    whole = bytearray(encoded(content))
    header = len(records.encode_header(IDENTITY))
    position = data.draw(st.integers(header, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    read = decoded(bytes(whole))
    assert read == content[: len(read)]
    assert len(read) < len(content)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_noise_is_no_segment(noise):
    with pytest.raises(JournalCorruptError, match="segment"):
        decoded(noise)


@given(CONTENT, st.binary(max_size=100))
@settings(deadline=None)
def test_noise_behind_the_records_is_not_read(content, noise):
    read = decoded(encoded(content) + b"\x01" + noise)
    assert read == content


def test_who_owns_a_segment_and_which_format_it_has_is_part_of_it():
    with pytest.raises(JournalCorruptError, match="belongs to 'other/r1', not to 'test/r1'"):
        decoded(records.encode_header("other/r1"))
