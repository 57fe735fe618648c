"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

from benchmarks.report import median
from h9s.clock import SystemClock


def describe_machine(data_dir: Path) -> dict[str, object]:
    """Processor, memory, kernel, Python, and how long an fdatasync takes where the data is."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fdatasync_p50_ms": round(_fdatasync_ms(data_dir), 3),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _fdatasync_ms(data_dir: Path) -> float:
    clock = SystemClock()
    took = []
    with tempfile.TemporaryFile(dir=data_dir) as file:
        for _ in range(100):
            file.write(b"x" * 300)
            file.flush()
            begin = clock.monotonic()
            os.fdatasync(file.fileno())
            took.append((clock.monotonic() - begin) * 1000)
    return median(took)
