"""`howbe-controller-manager`: all controllers, active in one process, standing by in the others."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from h9s import __version__
from h9s.client import BatchingClient, Client, LeaderElection
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.controllers.manager import COMPONENT, ControllerManager
from h9s.controllers.settings import Settings, parse_seconds
from h9s.daemon import run_daemon
from h9s.errors import H9sError
from h9s.metrics import serve_metrics


class _Seconds(click.ParamType[float]):
    """A duration on the command line; seconds, as a float."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType.convert`."""
        if isinstance(value, float | int):
            return float(value)
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_DEFAULTS = Settings()


@click.command()
@click.version_option(__version__)
@click.option("--client-config", required=True, help="How to reach the apiservers, YAML.")
@click.option("--identity", required=True, help="This process's name among those that may lead.")
@click.option("--metrics-address", default="", help="host:port for /metrics.")
@click.option(
    "--pod-eviction-timeout",
    type=_Seconds(),
    default=_DEFAULTS.pod_eviction_timeout,
    show_default=True,
    help="How long a node may be not ready until its pods are given up.",
)
@click.option(
    "--event-ttl",
    type=_Seconds(),
    default=_DEFAULTS.event_ttl,
    show_default=True,
    help="How long events are kept.",
)
@click.option(
    "--terminated-pod-threshold",
    type=click.IntRange(min=0),
    default=_DEFAULTS.terminated_pod_threshold,
    show_default=True,
    help="How many pods that have ended are kept.",
)
def main(
    client_config: str,
    identity: str,
    metrics_address: str,
    pod_eviction_timeout: float,
    event_ttl: float,
    terminated_pod_threshold: int,
) -> None:
    """Keep true what users declare: ReplicaSets, Deployments, owners, namespaces, nodes."""
    try:
        config = ClientConfig.load(client_config)
    except H9sError as error:
        raise click.ClickException(error.message) from error
    settings = Settings(pod_eviction_timeout, event_ttl, terminated_pod_threshold)
    run_daemon(partial(_serve, config, identity, metrics_address, settings), name=COMPONENT)


async def _serve(config: ClientConfig, identity: str, metrics_address: str, settings: Settings) -> None:
    if metrics_address:
        serve_metrics(metrics_address)
    clock, rng = SystemClock(), system_random()
    async with (
        BatchingClient(config, clock=clock, rng=rng, name=COMPONENT) as client,
        # A lease must be renewed however much there is to commit.
        Client(config, clock=clock, rng=rng, name=f"{COMPONENT}-election") as election_client,
    ):
        manager = ControllerManager(client, settings)
        election = LeaderElection(election_client, COMPONENT, identity)
        async with asyncio.TaskGroup() as group:
            group.create_task(manager.watch(), name="watch")
            group.create_task(election.run(manager.lead), name="election")


if __name__ == "__main__":
    main()
