"""Tokens, and names that are taken."""

import hashlib

import pytest

from h9s._pb import cluster_pb2
from h9s.apiserver.join import check_token, require_silent
from h9s.client.operations import create, update_status
from h9s.errors import AlreadyExistsError, UnauthenticatedError
from tests.unit.apiserver.support import NOW, World, meta, node


@pytest.fixture
def world():
    world = World()
    spec = cluster_pb2.JoinTokenSpec(secret_sha256=hashlib.sha256(b"secret").hexdigest())
    spec.expires_at.seconds = NOW + 60
    world.commit(create(cluster_pb2.JoinToken(metadata=meta("abc"), spec=spec)))
    return world


def test_the_right_secret_opens(world):
    check_token(world.machine.view(), "abc", "secret", now=NOW)


@pytest.mark.parametrize(("token_id", "secret"), [("abc", "wrong"), ("xyz", "secret"), ("abc", ""), ("", "")])
def test_anything_else_does_not(world, token_id, secret):
    with pytest.raises(UnauthenticatedError, match="not known here"):
        check_token(world.machine.view(), token_id, secret, now=NOW)


def test_nor_does_it_later(world):
    with pytest.raises(UnauthenticatedError, match="expired"):
        check_token(world.machine.view(), "abc", "secret", now=NOW + 60)


def test_the_name_of_a_living_node_is_taken(world):
    require_silent(world.machine.view(), "n1")
    world.commit(create(node("n1")))
    require_silent(world.machine.view(), "n1")
    alive = node("n1")
    alive.status.conditions.add(type="Ready", status="True")
    world.commit(update_status(alive))
    with pytest.raises(AlreadyExistsError, match="choose another name"):
        require_silent(world.machine.view(), "n1")
    alive.status.conditions[0].status = "Unknown"
    world.commit(update_status(alive))
    require_silent(world.machine.view(), "n1")
