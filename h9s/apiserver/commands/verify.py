"""`howbe-apiserver verify`: reads all of a replica's data, or a backup, and says whether it is whole."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from h9s.api.backup_file import BackupReader, BackupSummary
from h9s.apiserver import data_dir
from h9s.apiserver.commands.options import tells_errors
from h9s.apiserver.settings import Settings
from h9s.errors import DamagedError, UsageError
from h9s.raft.inspection import DataReport, inspect


@click.command("verify")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration of a replica that does not run.",
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@tells_errors
def COMMAND(config_path: Path | None, file: Path | None) -> None:
    """Read a replica's data (--config), or the backup FILE; change nothing, and fail where something is
    damaged."""
    if (config_path is None) == (file is None):
        raise UsageError("say what to verify: --config FILE for a replica's data, or FILE for a backup")
    if config_path is not None:
        _verify_data(Settings.load(config_path), config_path)
    if file is not None:
        click.echo(f"{file} is whole: {described(read_summary(file))}")


def read_summary(file: Path) -> BackupSummary:
    """Read all of a backup. Raises UsageError, DamagedError, UnsupportedError."""
    try:
        with file.open("rb") as opened:
            reader = BackupReader(opened, name=str(file))
            for _ in reader:
                pass
            return reader.summary
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def described(summary: BackupSummary) -> str:
    """What a backup holds, in half a sentence."""
    header = summary.header
    made = datetime.datetime.fromtimestamp(header.made_at_ms / 1000, tz=datetime.UTC)
    return (
        f"revision {header.revision} of cluster {header.cluster_id}, {summary.objects} objects, "
        f"made {made.isoformat(timespec='seconds')} by {header.replica_id} (h9s {header.version})"
    )


def _verify_data(settings: Settings, config_path: Path) -> None:
    folder = settings.data_dir
    identity = data_dir.require(folder, cluster_id=settings.cluster_id, replica_id=settings.replica_id)
    with data_dir.locked(folder):
        report = inspect(folder, cluster_id=identity.cluster_id, replica_id=identity.replica_id)
    for line in _lines(report):
        click.echo(line)
    for fault in report.faults:
        click.echo(f"DAMAGED: {fault}")
    if report.faults:
        raise DamagedError(
            f"{folder} is damaged; `howbe-apiserver repair --config {config_path}` sets the data aside and "
            "lets the replica get everything from the others"
        )
    click.echo(f"{folder} is whole: revision {report.machine.revision}, {len(report.machine)} objects")


def _lines(report: DataReport) -> list[str]:
    journal = report.journal
    lines = []
    if journal.segments or not report.faults:
        lines.append(f"term {journal.term}, voted for {journal.voted_for or 'nobody'}")
    lines += [
        f"{segment.name}: {segment.size_bytes} bytes, entries up to {segment.last_index}"
        for segment in journal.segments
    ]
    if journal.entries:
        first, last = journal.entries[0], journal.entries[-1]
        lines.append(f"log: entries {first[1]} to {last[1]}, at least {report.commit_index} committed")
    torn = journal.torn
    if torn is not None:
        lines.append(
            f"{torn.segment}: {torn.dropped_bytes} bytes from offset {torn.offset} on were never synced; "
            "the next start cuts them off"
        )
    lines += [f"{info.name}: up to entry {info.last_index}" for info in report.snapshots]
    return lines
