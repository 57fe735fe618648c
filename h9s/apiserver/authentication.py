"""Who is calling: read from the client certificate that TLS has verified.

What the caller may do is decided in `authorization`.
"""

from __future__ import annotations

from typing import Any

import grpc.aio

from h9s.errors import InvalidError, UnauthenticatedError
from h9s.pki import ROLE_ADMIN, ROLE_COMPONENT, ROLE_NODE, ROLE_REPLICA, Identity

ROLES = (ROLE_ADMIN, ROLE_REPLICA, ROLE_COMPONENT, ROLE_NODE)

#: The apiserver's own work. No certificate gives this role, so nobody can call under it.
SYSTEM = Identity(name="h9s-apiserver", role="h9s:system")

_REMEMBERED = 4096


def author_of(caller: Identity) -> str:
    """How the history names the caller: `admin/alice`, `component/scheduler`, `node/n1`."""
    return f"{caller.role.removeprefix('h9s:')}/{caller.name}"


class Authenticator:
    """Tells identities by certificate; remembers those it has read, because reading one is slow."""

    def __init__(self) -> None:
        self._known: dict[bytes, Identity] = {}

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> Identity:
        """The caller's identity. Raises UnauthenticatedError."""
        for certificate_pem in context.auth_context().get("x509_pem_cert", ()):
            return self.identify_certificate(certificate_pem)
        raise UnauthenticatedError("the call came without a client certificate")

    def identify_certificate(self, certificate_pem: bytes) -> Identity:
        """The identity of a verified certificate. Raises UnauthenticatedError."""
        known = self._known.get(certificate_pem)
        if known is not None:
            return known
        try:
            identity = Identity.of_certificate(certificate_pem)
        except InvalidError as error:
            raise UnauthenticatedError(f"the client certificate names nobody: {error.message}") from error
        if identity.role not in ROLES:
            raise UnauthenticatedError(
                f"the client certificate's organization is {identity.role!r}; known are {', '.join(ROLES)}"
            )
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[certificate_pem] = identity
        return identity
