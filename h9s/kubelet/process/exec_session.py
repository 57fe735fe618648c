"""A further process beside a container's: in its environment and its directory. Killed when let go."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from h9s.kubelet.process.images import PYTHON
from h9s.kubelet.runtime import ExecOptions, ExecOutput

_PIECE = 64 * 1024
_CANNOT_RUN = 127
_TERMINAL = Path(__file__).resolve().parent / "terminal.py"


class ProcessExec:
    """See `ExecSession`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._terminal = -1
        self._outputs: asyncio.Queue[ExecOutput | None] = asyncio.Queue(maxsize=64)
        self._readers: list[asyncio.Task[None]] = []

    @classmethod
    async def start(cls, options: ExecOptions, *, env: Mapping[str, str], cwd: Path) -> ProcessExec:
        """Run the command. One that cannot be run is a session whose output says so, with exit code 127,
        as from a shell."""
        session = cls()
        try:
            await session._launch(options, env, cwd)
        except OSError as error:
            message = f"cannot run {options.command[0]!r}: {error.strerror}\n"
            session._outputs.put_nowait(ExecOutput(message.encode(), is_stderr=True))
            session._outputs.put_nowait(None)
        return session

    async def _launch(self, options: ExecOptions, env: Mapping[str, str], cwd: Path) -> None:
        if options.tty:
            await self._launch_on_terminal(options, env, cwd)
            return
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *options.command,
            stdin=pipe if options.stdin else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        self._readers = [
            asyncio.create_task(self._copy(stdout, is_stderr=False)),
            asyncio.create_task(self._copy(stderr, is_stderr=True)),
            asyncio.create_task(self._finish()),
        ]

    async def _launch_on_terminal(self, options: ExecOptions, env: Mapping[str, str], cwd: Path) -> None:
        self._terminal, far_side = os.openpty()
        try:
            if options.columns and options.rows:
                await self.resize(options.columns, options.rows)
            self._process = await asyncio.create_subprocess_exec(
                *PYTHON,
                str(_TERMINAL),
                *options.command,
                stdin=far_side,
                stdout=far_side,
                stderr=far_side,
                env={"TERM": "xterm", **env},
                cwd=cwd,
            )
        finally:
            os.close(far_side)
        os.set_blocking(self._terminal, False)
        self._readers = [asyncio.create_task(self._copy_terminal())]

    async def output(self) -> AsyncGenerator[ExecOutput, None]:
        """See `ExecSession.output`."""
        while (piece := await self._outputs.get()) is not None:
            yield piece

    async def write(self, data: bytes) -> None:
        """See `ExecSession.write`."""
        try:
            if self._terminal >= 0:
                await self._write_terminal(data)
            elif self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
        except OSError:
            # It has ended, or does not read any more.
            return

    async def close_stdin(self) -> None:
        """See `ExecSession.close_stdin`."""
        if self._terminal >= 0:
            await self.write(b"\x04")
        elif self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """See `ExecSession.resize`."""
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def exit_code(self) -> int:
        """See `ExecSession.exit_code`."""
        if self._process is None:
            return _CANNOT_RUN
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def close(self) -> None:
        """See `ExecSession.close`."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                # It has not become a group of its own yet.
                self._process.kill()
            await self._process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    # -- its output

    async def _copy(self, source: asyncio.StreamReader, *, is_stderr: bool) -> None:
        while piece := await source.read(_PIECE):
            await self._outputs.put(ExecOutput(piece, is_stderr=is_stderr))

    async def _finish(self) -> None:
        await asyncio.gather(*self._readers[:2])
        await self._outputs.put(None)

    async def _copy_terminal(self) -> None:
        while True:
            await _ready(self._terminal, write=False)
            try:
                piece = os.read(self._terminal, _PIECE)
            except BlockingIOError:
                continue
            except OSError:
                # The last process has closed its side.
                break
            if not piece:
                break
            await self._outputs.put(ExecOutput(piece))
        await self._outputs.put(None)

    async def _write_terminal(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                await _ready(self._terminal, write=True)


async def _ready(descriptor: int, *, write: bool) -> None:
    """Wait until a descriptor can be read or written."""
    loop = asyncio.get_running_loop()
    # One descriptor cannot be waited for in both directions by one name of it.
    own = os.dup(descriptor)
    event = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(own, event.set)
    try:
        await event.wait()
    finally:
        remove(own)
        os.close(own)
