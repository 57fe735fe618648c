"""The Join service: a machine trades a token for a node certificate, on a port of its own.

The caller has no certificate yet, so TLS proves only the server; the token proves the caller. A
name whose node is Ready is refused: its howbelet is alive, and a second one under the same name would
fight it for its pods. A node that has stopped beating may join again, with a new certificate.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence

from h9s._pb import cluster_pb2, cluster_pb2_grpc, core_pb2
from h9s.api import conditions, validation
from h9s.api.keys import object_key
from h9s.api.kinds import kind_of
from h9s.apiserver import lifecycle, refusals
from h9s.apiserver.calls import Service, ServicerContext, served
from h9s.clock import Clock
from h9s.errors import AlreadyExistsError, UnauthenticatedError
from h9s.pki import HOWBELET_NAME, ROLE_NODE, Credential, Identity, sign_csr
from h9s.store.protocol import Store, View

logger = logging.getLogger(__name__)

CERTIFICATE_DAYS = 365

_TOKEN_KIND = kind_of(cluster_pb2.JoinToken)
_STRANGER = Identity(name="", role="h9s:joining")


class Strangers:
    """Who calls here has no name; nothing is decided by it."""

    def identify(self, _context: ServicerContext) -> Identity:
        """Nobody in particular."""
        return _STRANGER


class JoinService(Service, cluster_pb2_grpc.JoinServicer):
    """Checks tokens and signs requests, on every replica."""

    def __init__(
        self,
        store: Store,
        *,
        ca: Credential,
        api_addresses: Sequence[str],
        clock: Clock,
        request_timeout: float,
    ) -> None:
        super().__init__(authenticator=Strangers(), clock=clock, request_timeout=request_timeout)
        self._store = store
        self._ca = ca
        self._api_addresses = tuple(api_addresses)

    @served
    async def Join(
        self, request: cluster_pb2.JoinRequest, _caller: Identity, context: ServicerContext
    ) -> cluster_pb2.JoinResponse:
        """A certificate for node `node_name`.

        Raises UnauthenticatedError for a token that is not good, InvalidError for a bad name or
        request, AlreadyExistsError for the name of a node that is alive.
        """
        await self._store.read_barrier(timeout=self.timeout(context))
        view = self._store.view()
        check_token(view, request.token_id, request.token_secret, now=self.clock.wall())
        faults = validation.validate_name(lifecycle.NODE, request.node_name)
        if faults:
            raise refusals.invalid(lifecycle.NODE, request.node_name, faults)
        require_silent(view, request.node_name)
        certificate = sign_csr(
            self._ca,
            request.certificate_signing_request_pem,
            common_name=request.node_name,
            organization=ROLE_NODE,
            dns_names=[HOWBELET_NAME],
            client=True,
            server=True,
            days=CERTIFICATE_DAYS,
            clock=self.clock,
        )
        logger.info("node %s joins with token %s", request.node_name, request.token_id)
        return cluster_pb2.JoinResponse(
            certificate_pem=certificate, ca_pem=self._ca.certificate, api_addresses=self._where_to_go()
        )

    def _where_to_go(self) -> Sequence[str]:
        """The members' addresses now; where there are none, what the settings say."""
        members = [replica.api_address for replica in self._store.status().replicas if replica.api_address]
        return members or self._api_addresses


def check_token(view: View, token_id: str, secret: str, *, now: float) -> None:
    """Raise UnauthenticatedError unless there is such a token, and it is still good."""
    found = view.get(object_key(_TOKEN_KIND, "", token_id))
    expected = cluster_pb2.JoinToken()
    if found is not None:
        expected.ParseFromString(found.value)
    given = hashlib.sha256(secret.encode()).hexdigest()
    if not hmac.compare_digest(given, expected.spec.secret_sha256):
        raise UnauthenticatedError("the join token is not known here: create one with `howbectl worker join`")
    if expected.spec.expires_at.seconds <= now:
        raise UnauthenticatedError("the join token has expired: create a new one with `howbectl worker join`")


def require_silent(view: View, node_name: str) -> None:
    """Raise AlreadyExistsError if a node of this name is alive."""
    found = view.get(object_key(lifecycle.NODE, "", node_name))
    if found is None:
        return
    node = core_pb2.Node.FromString(found.value)
    if conditions.is_true(node.status.conditions, lifecycle.READY):
        raise AlreadyExistsError(
            f"node {node_name!r} exists and is ready: choose another name, or stop its howbelet first"
        )
