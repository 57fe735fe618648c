from __future__ import annotations

import random
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from h9s.cli.root import howbectl as root
from h9s.cli.session import Session
from h9s.config import ClientConfig
from tests.unit.cli.fake_cluster import FakeCluster, FixedClock


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


Howbectl = Callable[..., Result]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def howbectl(
    cluster: FakeCluster, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Howbectl:
    """Runs a command line against the cluster: `howbectl("get pods -o wide", stdin="...")`."""
    rng = random.Random(1)
    config = tmp_path / "howbectl.yaml"
    ClientConfig(servers=cluster.servers, ca=b"", certificate=b"", key=b"").save(config)
    monkeypatch.setenv("H9S_CONFIG", str(config))
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str, stdin: str | bytes | None = None) -> Result:
        session = Session(clock=clock, rng=rng, open_client=cluster.open)
        result = CliRunner().invoke(root, [*shlex.split(line), *more], obj=session, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    return run
