"""A command in a running container, over the engine's hijacked connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from h9s.kubelet.docker.engine import Engine
from h9s.kubelet.docker.streams import Response
from h9s.kubelet.runtime import ExecOptions, ExecOutput, GoneError

#: What is reported of a process whose end the engine does not know.
_UNKNOWN_EXIT_CODE = 137


class DockerExec:
    """See `ExecSession`. A process that is left behind goes on until its container ends."""

    def __init__(
        self,
        engine: Engine,
        exec_id: str,
        options: ExecOptions,
        connection: AsyncExitStack,
        response: Response,
    ) -> None:
        """`connection` is closed with the session."""
        self._engine = engine
        self._id = exec_id
        self._options = options
        self._connection = connection
        self._response = response

    @classmethod
    async def start(cls, engine: Engine, container_id: str, options: ExecOptions) -> DockerExec:
        """See `Runtime.exec`."""
        created = await engine.call(
            "exec_create",
            lambda client: client.exec_create(
                container_id, list(options.command), stdin=options.stdin, tty=options.tty
            ),
        )
        exec_id = str(created["Id"])
        body = {"Detach": False, "Tty": options.tty}
        request = engine.streams.request("POST", f"/exec/{exec_id}/start", body=body, upgrade=True)
        async with AsyncExitStack() as connection:
            response = await connection.enter_async_context(request)
            session = cls(engine, exec_id, options, connection.pop_all(), response)
        if options.tty and options.rows and options.columns:
            await session.resize(options.columns, options.rows)
        return session

    async def output(self) -> AsyncGenerator[ExecOutput, None]:
        """See `ExecSession.output`."""
        if self._options.tty:
            async for piece in self._response.pieces():
                yield ExecOutput(piece)
        else:
            async for frame in self._response.frames():
                yield frame

    async def write(self, data: bytes) -> None:
        """See `ExecSession.write`."""
        try:
            self._response.writer.write(data)
            await self._response.writer.drain()
        except ConnectionError:
            # It has ended; its output and exit code tell the rest.
            return

    async def close_stdin(self) -> None:
        """See `ExecSession.close_stdin`."""
        if not self._response.writer.is_closing():
            self._response.writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """See `ExecSession.resize`."""
        try:
            await self._engine.call(
                "exec_resize", lambda client: client.exec_resize(self._id, height=rows, width=columns)
            )
        except GoneError:
            # It has ended.
            return

    async def exit_code(self) -> int:
        """See `ExecSession.exit_code`."""
        inspected = await self._engine.call("exec_inspect", lambda client: client.exec_inspect(self._id))
        code = inspected["ExitCode"]
        return _UNKNOWN_EXIT_CODE if code is None else int(code)

    async def close(self) -> None:
        """See `ExecSession.close`."""
        await self._connection.aclose()
