"""Every error arrives at the client as what it was."""

import logging

import pytest

from h9s.apiserver.error_mapping import as_ours, detail_of
from h9s.client.error_detail import to_error
from h9s.errors import (
    BY_REASON,
    ConflictError,
    FieldFault,
    InternalError,
    InvalidError,
    NotLeaderError,
    RequestExpiredError,
)


@pytest.mark.parametrize("cls", [BY_REASON[reason] for reason in sorted(BY_REASON)])
def test_an_error_survives_the_wire(cls):
    error = to_error(detail_of(cls("what was wrong", operation=2)))
    assert (error.reason, error.message, error.operation) == (cls.reason, "what was wrong", 2)


def test_its_particulars_too():
    invalid = to_error(detail_of(InvalidError("bad", faults=[FieldFault("spec.x", "wrong")])))
    assert isinstance(invalid, InvalidError)
    assert invalid.faults == (FieldFault("spec.x", "wrong"),)
    moved = to_error(detail_of(NotLeaderError("no", leader_address="h:1")))
    assert isinstance(moved, NotLeaderError)
    assert moved.leader_address == "h:1"
    expired = to_error(detail_of(RequestExpiredError("old", server_time_ms=5)))
    assert isinstance(expired, RequestExpiredError)
    assert expired.server_time_ms == 5
    assert to_error(detail_of(ConflictError("x"))).operation is None


def test_an_error_of_another_kind_is_logged_and_not_told(caplog):
    with caplog.at_level(logging.ERROR):
        error = as_ours(KeyError("secret detail"), doing="Get")
    assert isinstance(error, InternalError)
    assert "secret" not in error.message
    assert "secret detail" in caplog.text
