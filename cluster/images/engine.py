"""The Docker Engine: whether one answers, and getting images into it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from cluster.images.busybox import find_busybox
from cluster.images.recipes import RECIPE_LABEL, Recipe, root_archive
from h9s.errors import H9sError

_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


class EngineError(H9sError):
    """No engine answers, or it refuses; the message says why in a few words."""


def engine_version() -> str:
    """The version of the engine that answers. Raises EngineError."""
    with open_engine(timeout=5) as client:
        return str(client.version()["Version"])


@contextmanager
def open_engine(*, timeout: int = 60) -> Iterator[docker.DockerClient]:
    """A client of the engine at $DOCKER_HOST, or of the local one. Raises EngineError, also for what
    the engine answers inside the block."""
    _knock(os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS)
    try:
        client = docker.from_env(timeout=timeout)
        try:
            yield client
        finally:
            client.close()
    except DockerException as error:
        raise EngineError(f"the Docker Engine does not do it: {error}") from error


def _knock(address: str) -> None:
    """Raise EngineError if nobody is behind a local address."""
    scheme, _, path = address.partition("://")
    if scheme != "unix":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except PermissionError:
            raise EngineError(
                "this user may not use the Docker Engine; is it in the group `docker`?"
            ) from None
        except OSError:
            raise EngineError(f"no Docker Engine answers at {path}") from None


def ensure_images(images: Mapping[str, Recipe]) -> list[str]:
    """Make those images that the engine lacks, or has from an older recipe of ours; returns their names.

    An image that somebody else made under the same name is left as it is.
    Raises EngineError, BusyboxError.
    """
    with open_engine() as client:
        wanted = {name: recipe for name, recipe in images.items() if _is_outdated(client, name, recipe)}
        if wanted:
            busybox = find_busybox()
            applets = _applets(busybox)
            for name, recipe in wanted.items():
                repository, _, tag = name.rpartition(":")
                archive = root_archive(busybox, applets, recipe)
                client.api.import_image_from_data(archive, repository, tag, changes=recipe.changes())
        return list(wanted)


def _is_outdated(client: docker.DockerClient, name: str, recipe: Recipe) -> bool:
    try:
        made_from = client.images.get(name).labels.get(RECIPE_LABEL)
    except ImageNotFound:
        return True
    return made_from is not None and made_from != recipe.digest()


def _applets(busybox: bytes) -> list[str]:
    """What this busybox can be called as."""
    with tempfile.TemporaryDirectory(prefix="h9s-busybox-") as folder:
        program = Path(folder) / "busybox"
        program.write_bytes(busybox)
        program.chmod(0o755)
        listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    return listed.stdout.split()
