"""What all tests share: which need a Docker Engine, and where manifests from outside are."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import pytest
from docker.errors import DockerException

from cluster.images.engine import engine_version, explain

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """A shell starts its background jobs deaf to SIGINT, and so would be all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def _docker_fault() -> str:
    """Why Docker tests cannot run here; "" if they can."""
    if os.environ.get("H9S_DOCKER_MISSING"):
        return os.environ["H9S_DOCKER_MISSING"]
    try:
        engine_version()
    except DockerException as error:
        return explain(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip Docker tests, with the reason, where no engine answers; in CI that is a failure."""
    if item.get_closest_marker("docker") is None or not (fault := _docker_fault()):
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs a Docker Engine: {fault}", pytrace=False)
    pytest.skip(f"needs a Docker Engine: {fault}")


@pytest.fixture(scope="session")
def shared_manifests() -> Path:
    """Kubernetes' own example manifests, which are not part of this repository."""
    folder = Path(os.environ.get("H9S_SHARED", ROOT.parent / "shared")) / "manifests"
    if not folder.is_dir():
        pytest.skip(
            f"needs the manifests in {folder}, which is absent; cluster/examples covers the same ground"
        )
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """The example manifests of this repository."""
    return ROOT / "cluster" / "examples"
