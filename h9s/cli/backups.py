"""Writes a backup to a file: verified while it comes, and in place only when it is whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from h9s.api.backup_file import MAGIC, BackupCheck, BackupSummary, encode_frame
from h9s.cli.session import CommandError


async def write_backup(records: AsyncIterator[bytes], path: Path) -> BackupSummary:
    """Store the records as the file `path`, which is replaced if there is one; it survives a power loss.

    Raises what the records raise, DamagedError, and CommandError where the file cannot be written;
    then `path` is as it was.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    check = BackupCheck("what the replica sent")
    try:
        with unfinished.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(MAGIC)
            async for record in records:
                check.take(record)
                file.write(encode_frame(record))
            summary = check.finish()
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return summary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
