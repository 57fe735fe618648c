"""Which container runtime the howbelets use, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from h9s.errors import UsageError

RUNTIMES = ("auto", "docker", "process")


@dataclass(frozen=True)
class Engine:
    """What asking for a Docker Engine gave: its version, or why there is none."""

    version: str = ""
    fault: str = ""


@dataclass(frozen=True)
class RuntimeChoice:
    """docker or process, and why."""

    runtime: str
    reason: str


def choose_runtime(
    wish: str | None, *, previous: str | None, engine: Engine, running: bool = False
) -> RuntimeChoice:
    """Docker when an engine answers, else processes; an explicit wish and what the cluster already
    runs on come first. Raises UsageError if Docker is asked for and no engine answers, or if a
    running cluster would have to change its runtime."""
    if running and previous is not None:
        if wish not in (None, "auto", previous):
            raise UsageError(
                f"--runtime {wish}: the cluster runs on {previous}; scripts/down stops it before that changes"
            )
        return RuntimeChoice(previous, "as it is running already")
    if wish == "process":
        return RuntimeChoice("process", "as asked for")
    if wish == "docker":
        if engine.fault:
            raise UsageError(f"--runtime docker: {engine.fault}")
        return RuntimeChoice("docker", f"as asked for; Docker Engine {engine.version}")
    if wish is None and previous == "process":
        return RuntimeChoice("process", "as before")
    if engine.fault:
        return RuntimeChoice("process", engine.fault)
    return RuntimeChoice("docker", f"Docker Engine {engine.version} answers")
