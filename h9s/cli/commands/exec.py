"""`howbectl exec`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from h9s._pb import api_pb2
from h9s.cli.completion import complete_pods
from h9s.cli.containers import choose_container, pods_of
from h9s.cli.options import command
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import parse_target
from h9s.cli.terminal import on_resize, raw_mode, read_chunks, terminal_size
from h9s.errors import H9sError, UnavailableError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client
    from h9s.client.transport import Duplex

    Call = Duplex[api_pb2.ExecRequest, api_pb2.ExecResponse]


@command("exec")
@click.argument("target", metavar="POD | KIND/NAME", shell_complete=complete_pods)
@click.argument("words", nargs=-1, metavar="-- COMMAND [ARG...]")
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("-c", "--container", default="", help="Which container; default: the first.")
@click.option("-q", "--quiet", is_flag=True, help="Only the command's own output.")
@click.pass_context
def COMMAND(
    ctx: click.Context,
    target: str,
    words: tuple[str, ...],
    interactive: bool,
    tty: bool,
    container: str,
    quiet: bool,
) -> None:
    """Run a command in a container; its exit code is passed on.

    \b
    howbectl exec web -- ls /
    howbectl exec -it deploy/web -c app -- sh
    """
    session = ctx.find_object(Session)
    assert session is not None
    if not words:
        raise UsageError(f"say which command to run: howbectl exec {target} -- COMMAND")
    if tty and not (interactive and sys.stdin.isatty()):
        click.echo("Unable to use a TTY: standard input is not a terminal", err=True)
        tty = False

    async def work(client: Client) -> int:
        named = target if "/" in target else f"pod/{target}"
        pod = (await pods_of(client, parse_target([named]), session.namespace))[0]
        start = api_pb2.ExecRequest.Start(
            namespace=session.namespace,
            pod=pod.metadata.name,
            container=choose_container(pod, container),
            command=words,
            stdin=interactive,
            tty=tty,
            size=_size() if tty else None,
        )
        try:
            call = await client.exec(start)
            try:
                async with _terminal(call, tty=tty), _input(call, enabled=interactive):
                    return await _output(call)
            finally:
                call.cancel()
        except UnavailableError as error:
            raise CommandError(f"the connection to the command broke off: {error.message}") from error

    code = session.run(work)
    if code and not quiet:
        click.echo(f"command terminated with exit code {code}", err=True)
    ctx.exit(code)


def _size() -> api_pb2.TerminalSize:
    columns, rows = terminal_size(sys.stdin.fileno())
    return api_pb2.TerminalSize(columns=columns, rows=rows)


@asynccontextmanager
async def _terminal(call: Call, *, tty: bool) -> AsyncIterator[None]:
    """The local terminal raw, and its size known on the other side."""
    if not tty:
        yield
        return
    resized = asyncio.Event()

    async def tell() -> None:
        while True:
            await resized.wait()
            resized.clear()
            await call.write(api_pb2.ExecRequest(resize=_size()))

    with ExitStack() as stack:
        stack.enter_context(on_resize(resized.set))
        stack.enter_context(raw_mode(sys.stdin.fileno()))
        async with _background(tell()):
            yield


@asynccontextmanager
async def _input(call: Call, *, enabled: bool) -> AsyncIterator[None]:
    """Standard input on its way to the command."""

    async def send() -> None:
        chunks = read_chunks(sys.stdin.fileno())
        while data := await chunks.get():
            await call.write(api_pb2.ExecRequest(stdin=data))
        await call.write(api_pb2.ExecRequest(stdin_eof=True))

    if not enabled:
        yield
        return
    async with _background(send()):
        yield


async def _output(call: Call) -> int:
    """Print what the command prints, until it ends. Returns its exit code."""
    while (response := await call.read()) is not None:
        match response.WhichOneof("message"):
            case "stdout":
                sys.stdout.buffer.write(response.stdout)
                sys.stdout.buffer.flush()
            case "stderr":
                sys.stderr.buffer.write(response.stderr)
                sys.stderr.buffer.flush()
            case "exit_code":
                return response.exit_code
    raise CommandError("the connection to the command ended before the command did")


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do the work beside the block, and no longer than it.

    What goes wrong with the call ends the block too, in its own reading, which says it better.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Exception) and not isinstance(result, H9sError):
            raise result
