"""A gRPC server that gives back what it gets: the most that Python and gRPC can do.

Run as `python -m benchmarks.echo ADDRESS CERTIFICATE KEY CA`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.targets import ECHO_METHOD
from h9s.client.grpc_transport import SERVER_OPTIONS


class _Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def echo(request: bytes, _context: Any) -> bytes:
            return request

        known = handler_call_details.method == ECHO_METHOD
        return grpc.unary_unary_rpc_method_handler(echo) if known else None


async def serve(address: str, *, certificate: bytes, key: bytes, ca: bytes) -> None:
    """Serve until killed; clients have to have a certificate of the CA. All PEM."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((_Echo(),))
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=ca,
        require_client_auth=True,
    )
    server.add_secure_port(address, credentials)
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """See the module's docstring."""
    certificate, key, ca = (Path(path).read_bytes() for path in sys.argv[2:5])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], certificate=certificate, key=key, ca=ca))


if __name__ == "__main__":
    main()
