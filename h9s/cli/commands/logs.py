"""`howbectl logs`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from h9s._pb import api_pb2, core_pb2
from h9s.cli.completion import complete_pods
from h9s.cli.containers import choose_container, pods_of
from h9s.cli.log_lines import LogLines
from h9s.cli.options import DURATION, command, pass_session, selector_option
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import parse_target
from h9s.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client

#: Between two attempts to go on with a log that broke off, in seconds.
_PAUSE = 0.25


@dataclass(frozen=True)
class _Source:
    """One container's log."""

    pod: str
    container: str
    prefix: bytes = b""


@command("logs")
@click.argument("target", nargs=-1, metavar="POD [CONTAINER] | KIND/NAME", shell_complete=complete_pods)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-c", "--container", default="", help="Which container; default: the first.")
@click.option("--all-containers", is_flag=True, help="All containers of the pod.")
@click.option("--all-pods", is_flag=True, help="All pods of the Deployment or ReplicaSet.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's previous run.")
@click.option("--tail", type=int, default=None, help="Only the last lines; default all, with -l 10.")
@click.option("--since", type=DURATION, metavar="DURATION", help="Only what is younger, as in 5m.")
@click.option("--timestamps", is_flag=True, help="With each line's time.")
@click.option("--prefix", is_flag=True, help="With each line's pod and container.")
@selector_option
@pass_session
def COMMAND(
    session: Session,
    target: tuple[str, ...],
    follow: bool,
    container: str,
    all_containers: bool,
    all_pods: bool,
    previous: bool,
    tail: int | None,
    since: float | None,
    timestamps: bool,
    prefix: bool,
    selector: str,
) -> None:
    """Print what containers have written.

    \b
    howbectl logs web                     the pod's only or first container
    howbectl logs -f deploy/web           one of the Deployment's pods, as it is written
    howbectl logs deploy/web --all-pods   all of them, each line with its pod
    howbectl logs -l app=web --tail=20
    """
    if bool(target) == bool(selector):
        raise UsageError("name a pod, a KIND/NAME, or a selector with -l")
    if len(target) > 2 or (len(target) == 2 and container):
        raise UsageError("name one pod, and at most one container")
    if len(target) == 2:
        container = target[1]
    if all_containers and container:
        raise UsageError("--all-containers and the name of a container do not go together")
    if tail is None and selector:
        tail = 10
    request = api_pb2.LogsRequest(
        namespace=session.namespace,
        follow=follow,
        previous=previous,
        timestamps=timestamps,
        tail_lines=tail if tail is not None and tail >= 0 else None,
        since_seconds=None if since is None else max(1, round(since)),
    )

    async def work(client: Client) -> None:
        pods = await _pods(client, target, selector, session.namespace, all_pods)
        several = all_pods or len(pods) > 1
        sources = [
            source for pod in pods for source in _sources(pod, container, all_containers, prefix or all_pods)
        ]
        printer = _Printer(client, session, request)
        if several and follow:
            await asyncio.gather(*map(printer.print_log, sources))
        else:
            for source in sources:
                await printer.print_log(source)

    session.run(work)


async def _pods(
    client: Client, target: Sequence[str], selector: str, namespace: str, all_pods: bool
) -> list[core_pb2.Pod]:
    if selector:
        listing = await client.list(core_pb2.Pod, namespace, label_selector=selector)
        if not listing.items:
            raise CommandError(f"no pods match {selector!r} in namespace {namespace!r}")
        return listing.items
    named = target[0] if "/" in target[0] else f"pod/{target[0]}"
    pods = await pods_of(client, parse_target([named]), namespace)
    if not all_pods and len(pods) > 1:
        click.echo(f"Found {len(pods)} pods, using pod/{pods[0].metadata.name}", err=True)
        return pods[:1]
    return pods


def _sources(pod: core_pb2.Pod, container: str, all_containers: bool, prefix: bool) -> list[_Source]:
    names = (
        [each.name for each in pod.spec.containers] if all_containers else [choose_container(pod, container)]
    )
    name = pod.metadata.name
    return [_Source(name, each, f"[pod/{name}/{each}] ".encode() if prefix else b"") for each in names]


class _Printer:
    """Prints logs, line by line where several are mixed or one may have to be resumed."""

    def __init__(self, client: Client, session: Session, request: api_pb2.LogsRequest) -> None:
        self._client = client
        self._session = session
        self._request = request

    async def print_log(self, source: _Source) -> None:
        """Until it ends."""
        request = api_pb2.LogsRequest()
        request.CopyFrom(self._request)
        request.pod, request.container = source.pod, source.container
        if request.follow:
            await self._follow(request, source.prefix)
        else:
            try:
                await self._print_once(request, source.prefix)
            except UnavailableError as error:
                raise _broken(error) from error

    async def _print_once(self, request: api_pb2.LogsRequest, prefix: bytes) -> None:
        lines = LogLines(keep_timestamps=True)
        async for response in self._client.logs(request):
            _write(prefix, lines.feed(response.data))
        _write(prefix, lines.end())

    async def _follow(self, request: api_pb2.LogsRequest, prefix: bytes) -> None:
        """Through another replica where the one in between goes away, without losing or repeating a line."""
        lines = LogLines(keep_timestamps=request.timestamps)
        request.timestamps = True
        clock = self._session.clock
        broken_since: float | None = None
        while True:
            try:
                async for response in self._client.logs(request):
                    broken_since = None
                    _write(prefix, lines.feed(response.data))
            except UnavailableError as error:
                now = clock.monotonic()
                broken_since = now if broken_since is None else broken_since
                if now - broken_since > self._session.request_timeout:
                    raise _broken(error) from error
                self._resume(request, lines)
                await asyncio.sleep(_PAUSE)
            else:
                _write(prefix, lines.end())
                return

    def _resume(self, request: api_pb2.LogsRequest, lines: LogLines) -> None:
        back = lines.resume(self._session.now)
        if back is not None:
            request.ClearField("tail_lines")
            request.since_seconds = back


def _broken(error: UnavailableError) -> CommandError:
    return CommandError(f"the log broke off: {error.message}")


def _write(prefix: bytes, lines: Sequence[bytes]) -> None:
    if lines:
        sys.stdout.buffer.write(b"".join(prefix + line for line in lines))
        sys.stdout.buffer.flush()
