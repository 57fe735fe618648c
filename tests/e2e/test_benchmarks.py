from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT


async def bench(*arguments: str, data_dir: Path) -> Any:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "bench"),
        *arguments,
        "--json",
        f"--data-dir={data_dir}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def check_form(document: Any, name: str) -> dict[str, Any]:
    assert document.keys() == {"benchmark", "machine", "settings", "results"}
    assert document["benchmark"] == name
    fields = {"name", "value", "unit", "peer", "ratio", "aim", "met"}
    assert all(result.keys() == fields for result in document["results"])
    assert all(result["value"] > 0 for result in document["results"])
    return {result["name"]: result for result in document["results"]}


def running_commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(path.read_bytes().decode(errors="replace"))
    return found


async def test_the_store_is_measured_and_leaves_nothing_behind(tmp_path: Path):
    results = check_form(await bench("store", "--seconds=0.5", data_dir=tmp_path), "store")
    assert results["64 unary clients"]["aim"] == "≥ 0.65 × echo"
    assert results["64 unary clients"]["met"] in (True, False)
    assert results["256 outstanding, batching client"]["met"] is None
    assert list(tmp_path.iterdir()) == []
    assert [command for command in running_commands() if f"{tmp_path}/bench-" in command] == []


async def test_growth_is_measured(tmp_path: Path):
    results = check_form(await bench("growth", "--objects=50", "--objects=200", data_dir=tmp_path), "growth")
    assert {"at 50 objects: writes", "at 200 objects: list of 200", "at 200 objects: memory"} < results.keys()
    assert list(tmp_path.iterdir()) == []


async def test_failover_is_measured(tmp_path: Path):
    results = check_form(await bench("failover", "--rounds=2", data_dir=tmp_path), "failover")
    assert results["best gap"]["value"] <= results["median gap"]["value"] <= results["worst gap"]["value"]


@pytest.mark.docker
async def test_startup_is_measured_beside_plain_docker(tmp_path: Path):
    results = check_form(
        await bench("startup", "--rounds=1", "--replicas=4", "--peer", data_dir=tmp_path), "startup"
    )
    startup = results["apply of 4 replicas to all Running, median"]
    assert startup["peer"] > 0
    assert startup["ratio"] == pytest.approx(startup["value"] / startup["peer"])
