"""`howbelet`: runs the pods of one machine.

Stopping it leaves the pods running, and starting it again takes them up; `--remove-pods` instead
stops and removes every pod of this node, and ends.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from h9s import __version__
from h9s.client.batching import BatchingClient
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.daemon import run_daemon
from h9s.errors import UsageError
from h9s.kubelet.arguments import DEFAULT_PORT, Arguments, default_data_dir, default_node_name
from h9s.kubelet.backoff import BackoffPolicy
from h9s.kubelet.drivers import RUNTIMES, Prepared, cluster_label, open_runtime
from h9s.kubelet.howbelet import Howbelet
from h9s.kubelet.join import config_path, join
from h9s.kubelet.removal import remove_all_pods
from h9s.kubelet.server import PodsServer, serve, stop
from h9s.kubelet.settings import HowbeletSettings, WorkerSettings
from h9s.metrics import serve_metrics

logger = logging.getLogger(__name__)

_BACKOFF = (10.0, 300.0)


@click.command()
@click.version_option(__version__)
@click.option(
    "--client-config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="How to reach the cluster, and this node's certificate.",
)
@click.option("--join", default="", help="Instead: join the cluster at this address, HOST:PORT.")
@click.option("--token", default="", help="With --join: the token; `howbectl worker join` prints one.")
@click.option("--node-name", default=default_node_name, help="Default: the machine's name.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    help="What has to survive a restart.",
)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    help="auto: docker when an engine answers, else process.",
)
@click.option(
    "--docker-host", default="", help="The engine's address. Default: $DOCKER_HOST, then its socket."
)
@click.option(
    "--cluster-label",
    default="",
    help="Marks this cluster's containers. Default: made from the cluster's CA.",
)
@click.option(
    "--address", default="", help="This node's IP address. Default: the one towards the apiservers."
)
@click.option("--port", type=int, default=DEFAULT_PORT, show_default=True, help="For logs and exec.")
@click.option("--metrics-address", default="", help="HOST:PORT. Default: 127.0.0.1 and the next port.")
@click.option("--resync-seconds", type=float, default=10.0, show_default=True)
@click.option(
    "--restart-backoff",
    type=(float, float),
    default=_BACKOFF,
    show_default=True,
    help="Seconds that a crashing container waits: at first, and at most.",
)
@click.option(
    "--pull-backoff",
    type=(float, float),
    default=_BACKOFF,
    show_default=True,
    help="The same for an image that cannot be had.",
)
@click.option("--remove-pods", is_flag=True, help="Stop and remove all pods of this node, and end.")
@click.option(
    "--longest-grace",
    type=float,
    default=10.0,
    show_default=True,
    help="With --remove-pods: seconds that a container may take to end.",
)
def main(**options: Any) -> None:
    """Run the pods that are bound to this machine."""
    arguments = Arguments(**options)
    run_daemon(partial(_run, arguments), name=f"howbelet {arguments.node_name}")


async def _run(arguments: Arguments) -> None:
    with _exclusive(arguments.data_dir):
        config = await _client_config(arguments)
        prepared = await open_runtime(
            arguments.runtime,
            node_name=arguments.node_name,
            cluster=cluster_label(config, arguments.cluster_label),
            data_dir=arguments.data_dir,
            engine_address=arguments.docker_host,
            clock=SystemClock(),
        )
        logger.info("runtime %s (%s): %s", prepared.runtime.name, prepared.info.version, prepared.reason)
        try:
            if arguments.remove_pods:
                grace = arguments.longest_grace
                count = await remove_all_pods(prepared.runtime, clock=SystemClock(), longest_grace=grace)
                logger.info("removed %d pods", count)
            else:
                await _serve(arguments, config, prepared)
        finally:
            await prepared.runtime.close()


async def _serve(arguments: Arguments, config: ClientConfig, prepared: Prepared) -> None:
    clock = SystemClock()
    serve_metrics(arguments.effective_metrics_address())
    address = arguments.effective_address(config)
    settings = HowbeletSettings(
        node_name=arguments.node_name,
        address=address,
        port=arguments.port,
        worker=WorkerSettings(
            host_ip=address,
            restart=BackoffPolicy(*arguments.restart_backoff),
            pull=BackoffPolicy(*arguments.pull_backoff),
        ),
        resync_seconds=arguments.resync_seconds,
    )
    async with BatchingClient(config, clock=clock, rng=system_random(), name="howbelet") as client:
        howbelet = Howbelet(
            client, prepared.runtime, clock=clock, data_dir=arguments.data_dir, settings=settings
        )
        service = PodsServer(howbelet.desired, prepared.runtime, clock=clock, is_secure=bool(config.ca))
        host = f"[{address}]" if ":" in address else address
        server = await serve(service, address=f"{host}:{arguments.port}", config=config)
        try:
            await howbelet.run(prepared.info)
        finally:
            await stop(server)


async def _client_config(arguments: Arguments) -> ClientConfig:
    """From a file, by joining, or from having joined before. Raises UsageError where there is none."""
    if arguments.client_config is not None:
        return ClientConfig.load(arguments.client_config)
    known = config_path(arguments.data_dir)
    if arguments.join:
        return await join(
            arguments.join,
            arguments.token,
            node_name=arguments.node_name,
            data_dir=arguments.data_dir,
            clock=SystemClock(),
            rng=system_random(),
        )
    if known.exists():
        return ClientConfig.load(known)
    raise UsageError(
        "give --client-config, or --join and --token (`howbectl worker join` prints the command)"
    )


@contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """Keep a second howbelet off the same node's containers. Raises UsageError if there is one."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (data_dir / "lock").open("w")
    except OSError as error:
        raise UsageError(f"cannot use the data directory {data_dir}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another howbelet uses the data directory {data_dir}") from None
        yield


if __name__ == "__main__":
    main()
