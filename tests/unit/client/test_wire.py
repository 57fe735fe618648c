"""The client's idea of the wire against what proto/ says."""

import pytest

from h9s._pb import api_pb2, apps_pb2, cluster_pb2, core_pb2, history_pb2, meta_pb2
from h9s.client import operations, transport
from h9s.client.error_detail import to_error
from h9s.client.transport import Method
from h9s.errors import (
    BY_REASON,
    FieldFault,
    InternalError,
    InvalidError,
    NotLeaderError,
    RequestExpiredError,
)

METHODS = [value for value in vars(transport).values() if isinstance(value, Method)]


def test_every_method_that_clients_call_is_there_with_its_messages():
    declared = {
        f"/{service.full_name}/{method.name}": (method.input_type, method.output_type)
        for file in (api_pb2.DESCRIPTOR, cluster_pb2.DESCRIPTOR, history_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    }
    ours = {method.path: (method.request.DESCRIPTOR, method.response.DESCRIPTOR) for method in METHODS}
    assert ours == declared


@pytest.mark.parametrize("reason", sorted(BY_REASON))
def test_an_error_comes_back_as_its_class(reason):
    detail = api_pb2.ErrorDetail(reason=reason, message="what was wrong", operation=3)
    error = to_error(detail)
    assert type(error) is BY_REASON[reason]
    assert (error.message, error.operation) == ("what was wrong", 3)
    assert to_error(api_pb2.ErrorDetail(reason=reason)).operation is None


def test_errors_keep_what_only_they_have():
    fault = api_pb2.FieldError(path="spec.replicas", message="must not be negative")
    invalid = to_error(api_pb2.ErrorDetail(reason="Invalid", field_errors=[fault]))
    assert isinstance(invalid, InvalidError)
    assert invalid.faults == (FieldFault("spec.replicas", "must not be negative"),)
    moved = to_error(api_pb2.ErrorDetail(reason="NotLeader", leader_address="h:1"))
    assert isinstance(moved, NotLeaderError)
    assert moved.leader_address == "h:1"
    expired = to_error(api_pb2.ErrorDetail(reason="RequestExpired", server_time_ms=5))
    assert isinstance(expired, RequestExpiredError)
    assert expired.server_time_ms == 5


def test_a_reason_from_the_future_is_an_internal_error():
    assert type(to_error(api_pb2.ErrorDetail(reason="NewInVersion9"))) is InternalError


def test_operations_name_their_objects():
    web = apps_pb2.Deployment(metadata=meta_pb2.ObjectMeta(name="web", namespace="shop", uid="u1"))
    deletion = operations.delete(web, grace_period_seconds=0)
    assert deletion.key == api_pb2.ObjectKey(group="apps", kind="Deployment", namespace="shop", name="web")
    assert deletion.preconditions.uid == "u1"
    assert not deletion.preconditions.HasField("mod_revision")
    assert deletion.HasField("grace_period_seconds")
    by_name = operations.delete(apps_pb2.Deployment, "web", "shop")
    assert by_name.key == deletion.key
    assert not by_name.HasField("preconditions")
    assert not by_name.HasField("grace_period_seconds")
    absent = operations.check(apps_pb2.Deployment, "web", "shop", mod_revision=0)
    assert absent.preconditions.HasField("mod_revision")
    node = operations.delete(core_pb2.Node, "n1", "default")
    assert node.key.namespace == ""
