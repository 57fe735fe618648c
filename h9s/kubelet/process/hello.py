"""The program of the image `h9s-hello`: an HTTP server that says which pod it is.

Run as `python -S -E -I hello.py`. Listens on $POD_IP (default: all addresses) and $PORT (8080), and
answers every request with "Hello from <$POD_NAME or $HOSTNAME>". Stands alone, and starts quickly.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

REQUEST_BYTES = 64 * 1024
TIMEOUT_SECONDS = 5.0


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    name = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME") or socket.gethostname()
    address = os.environ.get("POD_IP") or "0.0.0.0", int(os.environ.get("PORT") or "8080")
    listener = socket.create_server(address, backlog=128)
    print(f"{name} serves HTTP on {address[0]}:{address[1]}", flush=True)
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=answer, args=(connection, peer[0], name), daemon=True).start()


def answer(connection: socket.socket, peer: str, name: str) -> None:
    """One request, one answer; HEAD gets no body."""
    with connection:
        connection.settimeout(TIMEOUT_SECONDS)
        request = b""
        try:
            while b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            body = f"Hello from {name}\n".encode()
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + (b"" if request.startswith(b"HEAD ") else body))
        except OSError as error:
            print(f"{peer}: {error}", file=sys.stderr, flush=True)
            return
    first_line = request.partition(b"\r\n")[0].decode(errors="replace")
    print(f"{peer} {first_line}", flush=True)


if __name__ == "__main__":
    main()
