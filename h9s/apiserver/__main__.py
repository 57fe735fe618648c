"""`howbe-apiserver`: prepares a replica's data folder, and serves."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from h9s import __version__
from h9s.apiserver import data_dir
from h9s.apiserver.commands import recover, repair, restore, verify
from h9s.apiserver.commands.options import CONFIG as _CONFIG
from h9s.apiserver.repairing import damage_explained, open_journal, open_snapshots
from h9s.apiserver.server import ApiServer, Pki
from h9s.apiserver.settings import Settings
from h9s.clock import SystemClock, system_random
from h9s.daemon import run_daemon
from h9s.errors import H9sError, UsageError
from h9s.metrics import serve_metrics
from h9s.raft.disk_space import DiskSpace, free_bytes_of
from h9s.raft.history_archive import SqliteArchive
from h9s.raft.links import PeerLinks, TlsFiles
from h9s.raft.replicated_store import ReplicaAddress, ReplicatedStore, StoreSettings
from h9s.raft.settings import RaftSettings

log = logging.getLogger(__name__)


@click.group()
@click.version_option(__version__)
def main() -> None:
    """One replica of the control plane: the API over a replicated store."""


@main.command()
@_CONFIG
@click.option(
    "--join",
    is_flag=True,
    help="For a replica that a running cluster gets in addition, or that has lost its data: it has no vote "
    "before it has caught up. Without it: a founding member of a new cluster.",
)
def init(config_path: Path, join: bool) -> None:
    """Prepare an empty data folder, once in a replica's life."""
    try:
        settings = Settings.load(config_path)
        data_dir.initialize(
            settings.data_dir,
            cluster_id=settings.cluster_id,
            replica_id=settings.replica_id,
            incarnation=data_dir.new_incarnation(system_random()) if join else 0,
        )
    except H9sError as error:
        _fail(error)
    click.echo(f"initialized {settings.data_dir} for replica {settings.replica_id}")


@main.command()
@_CONFIG
def serve(config_path: Path) -> None:
    """Serve until SIGTERM."""
    try:
        settings = Settings.load(config_path)
        incarnation = data_dir.require(
            settings.data_dir, cluster_id=settings.cluster_id, replica_id=settings.replica_id
        ).incarnation
        pki = Pki.load(settings.pki)
    except H9sError as error:
        _fail(error)
    try:
        with data_dir.locked(settings.data_dir):
            run_daemon(partial(_serve, settings, pki, incarnation), name=f"apiserver {settings.replica_id}")
    except UsageError as error:
        _fail(error)


async def _serve(settings: Settings, pki: Pki, incarnation: int) -> None:
    """Store and server together; whichever fails ends both."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def on_fatal(error: BaseException) -> None:
        if not failed.done():
            failed.set_exception(error)

    if settings.metrics_address:
        serve_metrics(settings.metrics_address)
    clock, rng = SystemClock(), system_random()
    journal, incarnation = open_journal(settings, incarnation, clock=clock, rng=rng)
    links = _links(settings, loop, incarnation)
    await links.open()
    with damage_explained(settings):
        store = ReplicatedStore(
            cluster_id=settings.cluster_id,
            replica_id=settings.replica_id,
            addresses={r.id: ReplicaAddress(r.api_address, r.peer_address) for r in settings.replicas},
            journal=journal,
            snapshots=open_snapshots(settings),
            open_archive=partial(
                SqliteArchive.open, settings.data_dir / "history" / "history.db", identity=settings.cluster_id
            ),
            links=links,
            clock=clock,
            rng=rng,
            loop=loop,
            on_fatal=on_fatal,
            incarnation=incarnation,
            on_removed=partial(data_dir.mark_removed, settings.data_dir),
            raft=_raft_settings(settings),
            version=__version__,
            settings=StoreSettings(history=settings.history),
            disk=DiskSpace(
                free_bytes=partial(free_bytes_of, settings.data_dir),
                reserve_bytes=settings.disk_reserve_bytes,
                monotonic=clock.monotonic,
            ),
        )
    server = ApiServer(
        store, settings=settings, pki=pki, clock=clock, rng=rng, administration=store.administration
    )
    try:
        await store.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run(), name="server")
            tasks.create_task(_until_failed(failed), name="store")
    finally:
        await store.stop()
        await links.close()


async def _until_failed(failed: asyncio.Future[None]) -> None:
    await failed


def _links(settings: Settings, loop: asyncio.AbstractEventLoop, incarnation: int) -> PeerLinks:
    pki = settings.pki
    own = next(replica for replica in settings.replicas if replica.id == settings.replica_id)
    return PeerLinks(
        cluster_id=settings.cluster_id,
        replica_id=settings.replica_id,
        listen=settings.peer_address,
        tls=TlsFiles(ca=pki.ca, certificate=pki.certificate, key=pki.key),
        loop=loop,
        rng=system_random(),
        api_address=own.api_address,
        peer_address=own.peer_address,
        incarnation=incarnation,
    )


def _raft_settings(settings: Settings) -> RaftSettings:
    shortest, longest = settings.timings.election_timeout_ms
    return RaftSettings(
        election_timeout_min=shortest / 1000,
        election_timeout_max=longest / 1000,
        heartbeat_interval=settings.timings.heartbeat_ms / 1000,
        leader_fallback=longest / 1000,
    )


def _fail(error: H9sError) -> NoReturn:
    click.echo(f"error: {error.message}", err=True)
    raise SystemExit(error.exit_code)


main.add_command(verify.COMMAND)
main.add_command(repair.COMMAND)
main.add_command(recover.COMMAND)
main.add_command(restore.COMMAND)


if __name__ == "__main__":
    main()
