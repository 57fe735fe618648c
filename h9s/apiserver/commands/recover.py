"""`howbe-apiserver recover`: a new cluster of what is left, when a majority is lost for good."""

from __future__ import annotations

import datetime
from contextlib import ExitStack
from pathlib import Path

import click

from h9s.apiserver import data_dir
from h9s.apiserver.commands.options import tells_errors
from h9s.apiserver.data_dir import DataIdentity
from h9s.apiserver.recovering import answering, finish_interrupted, former_configuration, recover
from h9s.apiserver.settings import Settings
from h9s.clock import SystemClock, system_random
from h9s.errors import DamagedError, UsageError
from h9s.raft.inspection import DataReport, inspect
from h9s.raft.survivors import Comparison, Survivor

_HEADER = ("REPLICA", "LAST TERM", "LAST INDEX", "COMMITTED", "REVISION", "OBJECTS", "LAST WRITE", "DATA")


@click.command("recover")
@click.option(
    "--preview", is_flag=True, help="Only compare the data directories given, and name the freshest."
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration of the replica to go on with.",
)
@click.argument("data_dirs", nargs=-1, type=click.Path(path_type=Path, file_okay=False))
@tells_errors
def COMMAND(preview: bool, config_path: Path | None, data_dirs: tuple[Path, ...]) -> None:
    """Go on with one replica's data when a majority of the replicas is lost for good.

    \b
    First, with (copies of) the data directories of all replicas that are left:
      howbe-apiserver recover --preview DATA_DIR...
    Then, where the freshest of them is:
      howbe-apiserver recover --config apiserver.yaml

    The replica becomes a cluster of its own; its old data is kept. Start it, and add others to it. What
    only lost replicas had is lost.
    """
    if preview:
        _preview(data_dirs, Settings.load(config_path) if config_path else None)
    elif config_path is None or data_dirs:
        raise UsageError(
            "say which replica to go on with (--config FILE), or compare with --preview DATA_DIR..."
        )
    else:
        _recover(Settings.load(config_path))


def _preview(data_dirs: tuple[Path, ...], settings: Settings | None) -> None:
    if not data_dirs:
        raise UsageError("name the data directories of the replicas that are left")
    comparison, places = _compare(data_dirs, settings)
    rows = [_HEADER, *(_row(survivor, places[survivor.replica_id]) for survivor in comparison.survivors)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for survivor in comparison.survivors:
        for fault in survivor.report.faults:
            click.echo(f"{survivor.replica_id} is DAMAGED: {fault}")
    freshest = comparison.freshest
    if freshest is None:
        raise DamagedError("none of these can be gone on with; restore a backup instead")
    click.echo(f"\nThe freshest is {freshest.replica_id}: {places[freshest.replica_id]}")
    for line in _losses(comparison, freshest):
        click.echo(line)


def _compare(data_dirs: tuple[Path, ...], settings: Settings | None) -> tuple[Comparison, dict[str, Path]]:
    survivors: list[Survivor] = []
    places: dict[str, Path] = {}
    clusters: set[str] = set()
    for folder in data_dirs:
        identity = data_dir.read(folder)
        if identity.replica_id in places:
            raise UsageError(f"{places[identity.replica_id]} and {folder} are both of {identity.replica_id}")
        with data_dir.locked(folder):
            report = inspect(folder, cluster_id=identity.cluster_id, replica_id=identity.replica_id)
        survivors.append(Survivor(identity.replica_id, report, identity.incarnation))
        places[identity.replica_id] = folder
        clusters.add(identity.cluster_id)
    if len(clusters) > 1:
        raise UsageError(f"these are of different clusters: {', '.join(sorted(clusters))}")
    comparison = Comparison(survivors)
    freshest = comparison.freshest
    known = freshest.report.configuration if freshest is not None else None
    if known is not None:
        voters = {member.id: member.incarnation for member in known.members if member.voter}
    else:
        voters = {replica.id: 0 for replica in settings.replicas} if settings is not None else {}
    return Comparison(survivors, voters), places


def _row(survivor: Survivor, place: Path) -> tuple[str, ...]:
    report = survivor.report
    if not survivor.is_whole:
        return (survivor.replica_id, *["-"] * 6, f"{place} (damaged)")
    term, index = report.last
    return (
        survivor.replica_id,
        str(term),
        str(index),
        f">= {report.commit_index}",
        str(report.machine.revision),
        str(len(report.machine)),
        _time(report),
        str(place),
    )


def _time(report: DataReport) -> str:
    moment = datetime.datetime.fromtimestamp(report.machine.now_ms / 1000, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _losses(comparison: Comparison, freshest: Survivor) -> list[str]:
    """What going on with the freshest would cost."""
    lines = []
    for survivor in comparison.survivors:
        count = comparison.uncommitted(survivor)
        if count and survivor is not freshest:
            lines.append(
                f"{count} entries of {survivor.replica_id} would be dropped: they were never committed."
            )
    if comparison.nothing_is_lost:
        lines.append("Every majority had one of these in it: nothing that was acknowledged would be lost.")
        return lines
    last = f"revision {freshest.report.machine.revision}, {_time(freshest.report)}"
    if comparison.missing:
        lines.append(
            f"Writes after {last} would be lost that were acknowledged by a majority without these: of "
            f"{', '.join(comparison.missing)} nothing is left."
        )
    else:
        lines.append(
            f"Writes after {last} would be lost if a majority without these acknowledged them. With --config "
            "it can be said whether there could be one."
        )
    return lines


def _recover(settings: Settings) -> None:
    folder = settings.data_dir
    identity = data_dir.require(folder, cluster_id=settings.cluster_id, replica_id=settings.replica_id)
    with ExitStack() as stack:
        stack.enter_context(data_dir.locked(folder))
        if finish_interrupted(folder, identity, clock=SystemClock()):
            click.echo(
                f"finished what was interrupted; the old data is kept in {folder / data_dir.SET_ASIDE}"
            )
            return
        report = inspect(folder, cluster_id=identity.cluster_id, replica_id=identity.replica_id)
        if report.faults:
            raise DamagedError(
                f"the data in {folder} is damaged, go on with another replica's, or restore a backup: "
                f"{'; '.join(report.faults)}"
            )
        reachable, enough = answering(settings.replica_id, former_configuration(settings, report))
        if enough:
            raise UsageError(
                f"{', '.join(reachable)} can be reached: with this replica that is a majority. Start it "
                "instead; what is to be given up has to be stopped first"
            )
        new = DataIdentity(
            identity.cluster_id, identity.replica_id, data_dir.new_incarnation(system_random())
        )
        revision, aside = recover(settings, report, new, clock=SystemClock())
    name = settings.replica_id
    click.echo(f"the old data is kept in {aside}")
    click.echo(f"replica {name} is a cluster of its own now, and goes on at revision {revision}: start it")
    click.echo(
        "Then, for each further replica: `howbectl cluster add ID --api-address A --peer-address P`, and "
        "there, with its old data out of the way, `howbe-apiserver init --join`, and start it"
    )
