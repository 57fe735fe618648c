"""One process that puts load on a target, so that the load generator's work is not the measured one's.

Run as `python -m benchmarks.load`: reads a `LoadPlan` as one JSON line, answers "ready" when its
connections stand, begins at the next line, and answers with a `LoadOutcome` as one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.targets import Writer, close_all, open_writer, watched_names
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.errors import UnavailableError

_WARM_UP_WRITES = 20
_CLOCK = SystemClock()
#: How long beyond its time a load process may take.
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class LoadPlan:
    """What to do. `writers` connections with `outstanding` writes on each, for `seconds`; with `reads`,
    reads of what was written before; or, where `watch_address` is given, single writes each of which is
    waited for on a watch there."""

    target: str
    config_file: str
    address: str
    prefix: str
    seconds: float
    writers: int = 1
    outstanding: int = 1
    payload_bytes: int = 256
    watch_address: str = ""
    reads: bool = False


@dataclass(frozen=True)
class LoadOutcome:
    """What came of it: how many writes in how many seconds, and how long each took, in milliseconds."""

    writes: int
    seconds: float
    latencies_ms: list[float]


async def run_load(plan: LoadPlan) -> LoadOutcome:
    """Carry out a plan in this process, between two lines of standard input."""
    config = ClientConfig.load(plan.config_file)
    writers = [
        open_writer(plan.target, config, plan.address, plan.payload_bytes) for _ in range(plan.writers)
    ]
    try:
        for number, writer in enumerate(writers):
            for warm_up in range(_WARM_UP_WRITES if plan.writers == 1 else 2):
                await writer.write(_warm_up_name(plan, number, warm_up))
        if plan.watch_address:
            return await _write_and_watch(plan, config, writers[0])
        await _ready()
        return await _write_all(plan, writers)
    finally:
        await close_all(writers)


def _warm_up_name(plan: LoadPlan, writer: int, number: int) -> str:
    return f"{plan.prefix}-warm-{writer}-{number}"


async def _ready() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _write_all(plan: LoadPlan, writers: Sequence[Writer]) -> LoadOutcome:
    latencies: list[float] = []
    begin = _CLOCK.monotonic()
    end = begin + plan.seconds

    async def loop(writer: Writer, lane: str) -> None:
        number = 0
        now = _CLOCK.monotonic()
        while now < end:
            number += 1
            if plan.reads:
                await writer.read(_warm_up_name(plan, 0, number % 2))
            else:
                await writer.write(f"{plan.prefix}-{lane}-{number}")
            then, now = now, _CLOCK.monotonic()
            latencies.append((now - then) * 1000)

    async with asyncio.TaskGroup() as tasks:
        for number, writer in enumerate(writers):
            for lane in range(plan.outstanding):
                tasks.create_task(loop(writer, f"{number}-{lane}"))
    return LoadOutcome(len(latencies), _CLOCK.monotonic() - begin, latencies)


async def _write_and_watch(plan: LoadPlan, config: ClientConfig, writer: Writer) -> LoadOutcome:
    seen: dict[str, asyncio.Future[float]] = {}
    watching = asyncio.Event()

    async def watch() -> None:
        async with contextlib.aclosing(watched_names(plan.target, config, plan.watch_address)) as names:
            async for name in names:
                if not name:
                    watching.set()
                elif name in seen and not seen[name].done():
                    seen[name].set_result(_CLOCK.monotonic())
        raise UnavailableError("the watch ended")

    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch())
        async with asyncio.timeout(10.0):
            await watching.wait()
        await _ready()
        latencies: list[float] = []
        begin = _CLOCK.monotonic()
        while _CLOCK.monotonic() < begin + plan.seconds:
            name = f"{plan.prefix}-{len(latencies)}"
            seen[name] = asyncio.get_running_loop().create_future()
            started = _CLOCK.monotonic()
            await writer.write(name)
            latencies.append((await seen[name] - started) * 1000)
            del seen[name]
        watcher.cancel()
    return LoadOutcome(len(latencies), _CLOCK.monotonic() - begin, latencies)


async def measure(plans: Sequence[LoadPlan]) -> LoadOutcome:
    """Carry out plans at the same time, each in a process of its own, and add up what came of them.

    Raises UnavailableError if one of them fails, with what it said.
    """
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "benchmarks.load",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=256 << 20,
            env=_environment(),
        )
        for _ in plans
    ]
    try:
        for process, plan in zip(processes, plans, strict=True):
            await _say(process, json.dumps(asdict(plan)))
        for process in processes:
            if await _hear(process) != "ready":
                raise await _failure(process)
        for process in processes:
            await _say(process, "go")
        outcomes = []
        for process in processes:
            async with asyncio.timeout(max(plan.seconds for plan in plans) + _PATIENCE_SECONDS):
                answer = await _hear(process)
            if not answer:
                raise await _failure(process)
            outcomes.append(LoadOutcome(**json.loads(answer)))
    finally:
        for process in processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
    return LoadOutcome(
        writes=sum(outcome.writes for outcome in outcomes),
        seconds=max(outcome.seconds for outcome in outcomes),
        latencies_ms=[latency for outcome in outcomes for latency in outcome.latencies_ms],
    )


def _environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[1]
    return {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}


async def _say(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()


async def _hear(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def _failure(process: asyncio.subprocess.Process) -> UnavailableError:
    assert process.stderr is not None
    text = (await process.stderr.read()).decode(errors="replace").strip()
    return UnavailableError(f"a load process failed:\n{text[-2000:]}")


def main() -> None:
    """See the module's docstring."""
    plan = LoadPlan(**json.loads(sys.stdin.readline()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(run_load(plan))
    print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
