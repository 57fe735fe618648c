"""`howbe-scheduler`: active in one process, standing by in the others."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from h9s import __version__
from h9s.client import BatchingClient, Client, LeaderElection
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from h9s.daemon import run_daemon
from h9s.errors import H9sError
from h9s.metrics import serve_metrics
from h9s.scheduler.scheduler import COMPONENT, Scheduler


@click.command()
@click.version_option(__version__)
@click.option("--client-config", required=True, help="How to reach the apiservers, YAML.")
@click.option("--identity", required=True, help="This process's name among those that may lead.")
@click.option("--metrics-address", default="", help="host:port for /metrics.")
def main(client_config: str, identity: str, metrics_address: str) -> None:
    """Assign pods to nodes."""
    try:
        config = ClientConfig.load(client_config)
    except H9sError as error:
        raise click.ClickException(error.message) from error
    run_daemon(partial(_serve, config, identity, metrics_address), name=COMPONENT)


async def _serve(config: ClientConfig, identity: str, metrics_address: str) -> None:
    if metrics_address:
        serve_metrics(metrics_address)
    clock, rng = SystemClock(), system_random()
    async with (
        BatchingClient(config, clock=clock, rng=rng, name=COMPONENT) as client,
        # A lease must be renewed however much there is to commit.
        Client(config, clock=clock, rng=rng, name=f"{COMPONENT}-election") as election_client,
    ):
        scheduler = Scheduler(client)
        election = LeaderElection(election_client, COMPONENT, identity)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.watch(), name="watch")
            group.create_task(election.run(scheduler.lead), name="election")


if __name__ == "__main__":
    main()
