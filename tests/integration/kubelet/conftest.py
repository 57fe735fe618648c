from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from h9s.kubelet.runtime import Runtime
from tests.integration.kubelet.drivers import Bench, Driver

BOTH = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=BOTH)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    return Driver(request.param, tmp_path)


@pytest.fixture
async def runtime(driver: Driver) -> AsyncIterator[Runtime]:
    async with driver.opened() as runtime:
        yield runtime


@pytest.fixture
def bench(runtime: Runtime) -> Bench:
    return Bench(runtime)
