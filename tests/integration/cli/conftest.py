from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from h9s.cli.root import howbectl as root


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


Howbectl = Callable[..., Result]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The client configuration of an apiserver that runs as a process of its own."""
    folder = tmp_path_factory.mktemp("apiserver")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.cli.memory_apiserver", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield folder / "howbectl.yaml"
        finally:
            process.kill()


@pytest.fixture
def howbectl(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Howbectl:
    """Runs a command line in this process."""
    monkeypatch.setenv("H9S_CONFIG", str(config))
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(root, [*shlex.split(line), *more], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def start(config: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a command line as a process of its own."""

    def popen(line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "h9s.cli", *shlex.split(line)],
            env={**os.environ, "H9S_CONFIG": str(config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen
