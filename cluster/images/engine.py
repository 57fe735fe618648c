"""The Docker Engine: whether one answers, and getting images into it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from cluster.images.busybox import find_busybox
from cluster.images.recipes import RECIPE_LABEL, Recipe, root_archive


def engine_version() -> str:
    """The version of the engine that answers. Raises DockerException (none, or it refuses this user)."""
    client = docker.from_env(timeout=5)
    try:
        return str(client.version()["Version"])
    finally:
        client.close()


def explain(error: DockerException) -> str:
    """Why no engine answers, in a few words."""
    text = str(error)
    if "PermissionError" in text or "Permission denied" in text:
        return "this user may not use the Docker Engine; is it in the group `docker`?"
    if "FileNotFoundError" in text or "No such file" in text or "ConnectionRefused" in text:
        return "no Docker Engine runs here"
    return f"the Docker Engine does not answer: {text}"


def ensure_images(images: Mapping[str, Recipe]) -> list[str]:
    """Make those images that the engine lacks, or has from an older recipe of ours; returns their names.

    An image that somebody else made under the same name is left as it is.
    Raises DockerException, BusyboxError.
    """
    client = docker.from_env()
    try:
        wanted = {name: recipe for name, recipe in images.items() if _is_outdated(client, name, recipe)}
        if wanted:
            busybox = find_busybox()
            applets = _applets(busybox)
            for name, recipe in wanted.items():
                repository, _, tag = name.rpartition(":")
                archive = root_archive(busybox, applets, recipe)
                client.api.import_image_from_data(archive, repository, tag, changes=recipe.changes())
        return list(wanted)
    finally:
        client.close()


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
