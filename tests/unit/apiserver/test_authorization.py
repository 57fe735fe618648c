"""Who may do what, and who is who."""

from typing import Any, cast

import pytest

from h9s import pki
from h9s._pb import api_pb2, apps_pb2, cluster_pb2, coordination_pb2, core_pb2
from h9s.api.kinds import KINDS, kind_of
from h9s.apiserver.authentication import Authenticator
from h9s.apiserver.authorization import (
    authorize_heartbeat,
    authorize_join_tokens,
    authorize_pod_access,
    authorize_read,
    authorize_write,
)
from h9s.client.operations import create, delete, update, update_status
from h9s.errors import ForbiddenError, UnauthenticatedError
from tests.unit.apiserver.support import (
    ADMIN,
    NODE_1,
    REPLICA,
    SCHEDULER,
    World,
    lease,
    meta,
    namespace,
    node,
    pod,
    replica_set,
)

Op = api_pb2.Operation
POD, NODE, TOKEN = kind_of(core_pb2.Pod), kind_of(core_pb2.Node), kind_of(cluster_pb2.JoinToken)
ALL = (ADMIN, SCHEDULER, NODE_1, REPLICA)


def allowed(check, *args):
    try:
        check(*args)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize("caller", ALL)
def test_everybody_reads_everything_but_join_tokens(caller):
    assert allowed(authorize_read, caller, POD)
    assert allowed(authorize_read, caller, None)
    assert allowed(authorize_read, caller, TOKEN) is (caller is ADMIN)


@pytest.mark.parametrize("caller", ALL)
def test_only_the_admin_touches_join_tokens(caller):
    for verb in (Op.CREATE, Op.UPDATE, Op.DELETE, Op.CHECK):
        assert allowed(authorize_write, caller, verb, TOKEN, "abc", None) is (caller is ADMIN)
    assert allowed(authorize_join_tokens, caller) is (caller is ADMIN)


@pytest.mark.parametrize("verb", [Op.CREATE, Op.UPDATE, Op.UPDATE_STATUS, Op.DELETE])
def test_admins_and_components_write_everything_else(verb):
    for caller in (ADMIN, SCHEDULER):
        for kind in (POD, NODE, kind_of(apps_pb2.Deployment)):
            assert allowed(authorize_write, caller, verb, kind, "x", None)
    assert not allowed(authorize_write, REPLICA, verb, POD, "x", None)


def test_logs_and_exec_are_for_users_and_components():
    assert [allowed(authorize_pod_access, caller, "read") for caller in ALL] == [True, True, False, False]


def test_a_node_beats_for_itself():
    assert allowed(authorize_heartbeat, NODE_1, "n1")
    assert not allowed(authorize_heartbeat, NODE_1, "n2")
    assert allowed(authorize_heartbeat, ADMIN, "n2")


class TestNodes:
    """What a howbelet may do in a Commit."""

    @pytest.fixture
    def world(self):
        world = World("default", "h9s-system")
        world.commit(create(pod("mine", node="n1")), create(pod("other", node="n2")), create(pod("free")))
        world.commit(create(node("n2")))
        return world

    def test_it_keeps_its_own_node_object(self, world):
        world.commit(create(node("n1")), caller=NODE_1)
        world.commit(update(node("n1", labels={"a": "b"})), update_status(node("n1")), caller=NODE_1)

    def test_it_reports_and_removes_the_pods_bound_to_it(self, world):
        world.commit(update_status(status("mine", "Running")), caller=NODE_1)
        world.commit(delete(core_pb2.Pod, "mine", "default", grace_period_seconds=0), caller=NODE_1)

    def test_it_writes_events_and_leases(self, world):
        event = core_pb2.Event(metadata=meta("e", "default"), reason="X", type="Normal")
        held = lease("n1", "h9s-system", holder="n1")
        world.commit(create(event), create(held), caller=NODE_1)
        world.commit(update(held), caller=NODE_1)

    @pytest.mark.parametrize(
        "op",
        [
            create(pod("new")),
            create(replica_set()),
            create(node("n3")),
            update(pod("mine", labels={"a": "b"}, node="n1")),
            update(node("n2")),
            update_status(node("n2")),
            delete(core_pb2.Node, "n2"),
            delete(core_pb2.Pod, "other", "default"),
            delete(core_pb2.Pod, "free", "default"),
            create(namespace("x")),
        ],
    )
    def test_nothing_else(self, world, op):
        with pytest.raises(ForbiddenError, match=r"h9s:node 'n1' may not"):
            world.commit(op, caller=NODE_1)

    def test_not_even_the_status_of_others_pods(self, world):
        for name in ("other", "free"):
            with pytest.raises(ForbiddenError):
                world.commit(update_status(status(name, "Running")), caller=NODE_1)

    def test_it_does_not_delete_its_node(self, world):
        world.commit(create(node("n1")))
        with pytest.raises(ForbiddenError):
            world.commit(delete(core_pb2.Node, "n1"), caller=NODE_1)

    def test_checks_are_reads(self, world):
        op = Op(verb=Op.CHECK, key=api_pb2.ObjectKey(kind="Pod", namespace="default", name="other"))
        world.commit(op, caller=NODE_1)


def status(name, phase):
    message = core_pb2.Pod(metadata=meta(name, "default"))
    message.status.phase = phase
    return message


class TestIdentities:
    def certificate(self, name, role):
        return pki.issue(pki.create_ca("test"), common_name=name, organization=role).certificate

    def test_name_and_role_are_the_certificates(self):
        authenticator = Authenticator()
        certificate = self.certificate("n1", pki.ROLE_NODE)
        assert authenticator.identify_certificate(certificate) == pki.Identity("n1", pki.ROLE_NODE)
        assert authenticator.identify_certificate(certificate) == pki.Identity("n1", pki.ROLE_NODE)

    def test_an_unknown_role_is_nobody(self):
        for role in ("h9s:system", "somebody"):
            with pytest.raises(UnauthenticatedError, match=role):
                Authenticator().identify_certificate(self.certificate("x", role))

    def test_something_else_is_no_certificate(self):
        with pytest.raises(UnauthenticatedError):
            Authenticator().identify_certificate(b"not a certificate")

    def test_a_call_without_one_is_refused(self):
        class Context:
            def auth_context(self):
                return {}

        with pytest.raises(UnauthenticatedError, match="without a client certificate"):
            Authenticator().identify(cast("Any", Context()))


def test_every_kind_is_covered_by_the_rules_for_nodes():
    """A new kind is closed to nodes until somebody opens it."""
    open_to_nodes = {kind_of(core_pb2.Event), kind_of(coordination_pb2.Lease)}
    for kind in KINDS:
        assert allowed(authorize_write, NODE_1, Op.CREATE, kind, "x", None) is (kind in open_to_nodes)
