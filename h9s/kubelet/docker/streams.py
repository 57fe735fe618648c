"""The engine's long answers: events, logs, pulls and exec sessions, as asyncio streams.

The SDK reads a stream by blocking a thread for as long as it lives, and its hijacked sockets may lose
what arrived together with the headers. These few calls are therefore spoken here: HTTP/1.1 over the
engine's Unix socket (or plain TCP), one connection per call. Everything short goes through the SDK.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from h9s.errors import UsageError
from h9s.kubelet.runtime import ExecOutput, GoneError, RuntimeFailureError, RuntimeUnavailableError

#: The longest line of JSON that the engine may send, in bytes.
_LINE_LIMIT = 1024 * 1024
_PIECE = 64 * 1024
_STDERR = 2


class Response:
    """An answer whose headers have come. `reader` and `writer` are the connection's."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.status = status
        self.headers = headers
        self.reader = reader
        self.writer = writer

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises RuntimeUnavailableError where it breaks off."""
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readuntil(b"\n")).partition(b";")[0], 16):
                    yield await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
            else:
                while piece := await self.reader.read(_PIECE):
                    yield piece
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise RuntimeUnavailableError(f"the Docker Engine broke off its answer: {error}") from error

    async def json_lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """The body as one JSON object per line."""
        rest = b""
        async for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)

    async def frames(self) -> AsyncGenerator[ExecOutput, None]:
        """The body as the engine multiplexes two streams: eight bytes of header before each piece."""
        buffer = bytearray()
        async for piece in self.pieces():
            buffer += piece
            while len(buffer) >= 8 and len(buffer) >= 8 + (size := int.from_bytes(buffer[4:8], "big")):
                yield ExecOutput(bytes(buffer[8 : 8 + size]), is_stderr=buffer[0] == _STDERR)
                del buffer[: 8 + size]


class StreamingEngine:
    """Opens streams at an engine's address: `unix:///var/run/docker.sock` or `tcp://host:port`."""

    def __init__(self, address: str, *, api_version: str) -> None:
        """Raises UsageError on any other kind of address."""
        parts = urlsplit(address)
        if parts.scheme not in ("unix", "http+unix", "tcp", "http"):
            raise UsageError(f"the Docker Engine's address {address!r} is neither unix:// nor tcp://")
        self._socket_path = parts.path if "unix" in parts.scheme else ""
        self._host, self._port = parts.hostname or "localhost", parts.port or 2375
        self._prefix = f"/v{api_version}"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        upgrade: bool = False,
    ) -> AsyncIterator[Response]:
        """Send a request and wait for the headers of a good answer; the connection ends with the block.

        `upgrade`: keep the connection as a raw stream in both directions. Raises
        RuntimeUnavailableError; GoneError (404) and RuntimeFailureError with what the engine says.
        """
        target = f"{self._prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        content = json.dumps(body).encode() if body is not None else b""
        sent = {
            "Host": "docker",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "Upgrade" if upgrade else "close",
            **({"Upgrade": "tcp"} if upgrade else {}),
            **(headers or {}),
        }
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in sent.items()
        )
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                reader, writer = await self._connect()
                writer.write(head.encode() + b"\r\n" + content)
                await writer.drain()
                response = await _read_head(reader, writer)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise RuntimeUnavailableError(f"the Docker Engine does not answer: {error}") from error
            if response.status not in (101, 200):
                await _raise_refusal(response, path)
            yield response
        finally:
            if writer is not None:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket_path:
            return await asyncio.open_unix_connection(self._socket_path, limit=_LINE_LIMIT)
        return await asyncio.open_connection(self._host, self._port, limit=_LINE_LIMIT)


async def _read_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip().lower()
    return Response(int(head[0].split(" ")[1]), headers, reader, writer)


async def _raise_refusal(response: Response, path: str) -> None:
    body = b"".join([piece async for piece in response.pieces()])
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"status {response.status} for {path}"
    if response.status == 404:
        raise GoneError(message)
    raise RuntimeFailureError(message)
