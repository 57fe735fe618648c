"""Whose data a folder holds: `identity.yaml`, written once by `init`, checked at every start.

A replica that starts on an empty folder by mistake would vote as if it had promised nothing; one
that starts on another's would lie about what it has. Both are refused.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from h9s.errors import UsageError

FILE_NAME = "identity.yaml"
#: What was replaced, by the time when: never read again, never deleted by h9s.
SET_ASIDE = "set-aside"


class DataIdentity(NamedTuple):
    """Whose data it is, and in which life."""

    cluster_id: str
    replica_id: str
    #: 0 for a founding member that never lost its data; else a number that no earlier life had.
    incarnation: int = 0
    #: It was removed from its cluster, and must not start again.
    removed: bool = False


def new_incarnation(rng: random.Random) -> int:
    """A number that no life of a replica had before."""
    return rng.getrandbits(62) + 1


def initialize(data_dir: Path, *, cluster_id: str, replica_id: str, incarnation: int = 0) -> None:
    """Mark an empty or missing folder as this replica's. Raises UsageError if it is used already.

    `incarnation`: 0 for a founding member; for one that joins, or comes back without its data, a new one.
    """
    require_empty(data_dir)
    create(data_dir)
    write(data_dir, DataIdentity(cluster_id, replica_id, incarnation))


def require_empty(data_dir: Path) -> None:
    """Raise UsageError if the folder is used already."""
    if data_dir.is_dir() and any(data_dir.iterdir()):
        if (data_dir / FILE_NAME).exists():
            raise UsageError(f"{data_dir} is initialized already: remove it to start over with an empty one")
        raise UsageError(f"{data_dir} is not empty, and holds no replica's data")


def create(data_dir: Path) -> None:
    """Make the folder where it is missing, for this user alone. Raises UsageError."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(data_dir.parent)
    except OSError as error:
        raise UsageError(f"cannot initialize {data_dir}: {error.strerror}") from error


def write(data_dir: Path, identity: DataIdentity) -> None:
    """Make the folder that replica's, whatever it was; durably. Raises UsageError."""
    document: dict[str, object] = {"clusterId": identity.cluster_id, "replicaId": identity.replica_id}
    if identity.incarnation:
        document["incarnation"] = identity.incarnation
    if identity.removed:
        document["removed"] = True
    path = data_dir / FILE_NAME
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(yaml.safe_dump(document, sort_keys=False))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(data_dir)
    except OSError as error:
        raise UsageError(f"cannot initialize {data_dir}: {error.strerror}") from error


def read(data_dir: Path) -> DataIdentity:
    """Whose data the folder holds. Raises UsageError if it does not say."""
    path = data_dir / FILE_NAME
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        identity = DataIdentity(
            str(document["clusterId"]),
            str(document["replicaId"]),
            int(document.get("incarnation", 0)),
            bool(document.get("removed", False)),
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"{data_dir} is not initialized: run `howbe-apiserver init` for a founding member of a new "
            "cluster, `howbe-apiserver init --join` for a replica that is added, or that has lost its data"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} does not say whose data this is: clusterId and replicaId are needed"
        ) from error
    return identity


def require(data_dir: Path, *, cluster_id: str, replica_id: str) -> DataIdentity:
    """The folder's identity. Raises UsageError unless it is this replica's, and if that was removed."""
    identity = read(data_dir)
    if (identity.cluster_id, identity.replica_id) != (cluster_id, replica_id):
        raise UsageError(
            f"{data_dir / FILE_NAME} says cluster {identity.cluster_id!r}, replica {identity.replica_id!r}; "
            f"the configuration says {cluster_id!r}, {replica_id!r}: this is another's data"
        )
    if identity.removed:
        raise UsageError(
            f"replica {replica_id} was removed from its cluster. To add it again, remove {data_dir}, and "
            "run `howbe-apiserver init --join` and `howbectl cluster add`"
        )
    return identity


def mark_removed(data_dir: Path) -> None:
    """Remember that this replica was removed from its cluster. Raises UsageError."""
    write(data_dir, read(data_dir)._replace(removed=True))


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Nobody else works on the folder meanwhile. Raises UsageError if somebody does already."""
    try:
        descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot open {data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UsageError(f"{data_dir} is in use by another process: stop that replica first") from error
    finally:
        os.close(descriptor)


def set_aside(data_dir: Path, *, name: str, but: str = "") -> Path:
    """Move everything but the identity, and `but`, out of the way; where it is now. Raises UsageError."""
    target = data_dir / SET_ASIDE / name
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(data_dir.iterdir()):
            if path.name not in (FILE_NAME, SET_ASIDE, but):
                path.rename(target / path.name)
        sync_folder(target)
        sync_folder(target.parent)
        sync_folder(data_dir)
    except OSError as error:
        raise UsageError(f"cannot set the content of {data_dir} aside: {error.strerror}") from error
    return target


def sync_folder(folder: Path) -> None:
    """Make what was done to the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
