"""Whose data a folder holds: `identity.yaml`, written once by `init`, checked at every start.

A replica that starts on an empty folder by mistake would vote as if it had promised nothing; one
that starts on another's would lie about what it has. Both are refused.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from h9s.errors import UsageError

FILE_NAME = "identity.yaml"


def initialize(data_dir: Path, *, cluster_id: str, replica_id: str) -> None:
    """Mark an empty or missing folder as this replica's. Raises UsageError if it is used already."""
    path = data_dir / FILE_NAME
    if data_dir.is_dir() and any(data_dir.iterdir()):
        if path.exists():
            raise UsageError(f"{data_dir} is initialized already: remove it to start over with an empty one")
        raise UsageError(f"{data_dir} is not empty, and holds no replica's data")
    identity = yaml.safe_dump({"clusterId": cluster_id, "replicaId": replica_id}, sort_keys=False)
    temporary = path.with_suffix(".tmp")
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(identity)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(data_dir)
    except OSError as error:
        raise UsageError(f"cannot initialize {data_dir}: {error.strerror}") from error


def require(data_dir: Path, *, cluster_id: str, replica_id: str) -> None:
    """Raise UsageError unless the folder is this replica's."""
    path = data_dir / FILE_NAME
    try:
        identity = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{data_dir} is not initialized: run `howbe-apiserver init` for a new replica; one that had "
            "data must not start without it"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    expected = {"clusterId": cluster_id, "replicaId": replica_id}
    if identity != expected:
        raise UsageError(f"{path} says {identity}, the configuration says {expected}: this is another's data")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
