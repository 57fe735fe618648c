"""Clusters that several tests share. A test that hurts a cluster mends it, or starts its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.images.engine import ensure_images
from cluster.images.recipes import TEST_IMAGES
from cluster.local.bring_up import Running, bring_up
from cluster.local.layout import Layout
from cluster.local.manager import LocalCluster
from cluster.local.progress import Silent
from cluster.local.settings import Wishes
from cluster.local.take_down import take_down
from cluster.local.temporary import find_base_port
from h9s.clock import system_random
from tests.e2e.support import Howbectl


def start(state_dir: Path, *, runtime: str, workers: int = 2, example: bool = False) -> Running:
    base_port = find_base_port(workers=workers + 2, rng=system_random())
    wishes = Wishes(base_port=base_port, workers=workers, runtime=runtime)
    return asyncio.run(bring_up(state_dir, wishes, example=example, progress=Silent()))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster of plain processes with two workers and the example."""
    state_dir = tmp_path_factory.mktemp("process") / "state"
    try:
        yield start(state_dir, runtime="process", example=True)
    finally:
        take_down(Layout(state_dir))


@pytest.fixture
def cluster(running: Running) -> LocalCluster:
    return running.cluster


@pytest.fixture
def howbectl(cluster: LocalCluster) -> Howbectl:
    return Howbectl(cluster)


@pytest.fixture(scope="session")
def docker_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster of two workers on Docker; only for tests marked `docker`."""
    ensure_images(TEST_IMAGES)
    state_dir = tmp_path_factory.mktemp("docker") / "state"
    try:
        yield start(state_dir, runtime="docker").cluster
    finally:
        take_down(Layout(state_dir))
