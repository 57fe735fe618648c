"""What this machine has to give."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from h9s.kubelet.runtime import RuntimeInfo

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def machine_info() -> RuntimeInfo:
    """Of the machine, as the kernel and its release file have it."""
    system = platform.uname()
    return RuntimeInfo(
        version=f"process://{system.release}",
        cpu_millis=(os.cpu_count() or 1) * 1000,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel_version=system.release,
        os_image=_os_image(Path("/etc/os-release")),
        operating_system=system.system.lower(),
        architecture=_ARCHITECTURES.get(system.machine, system.machine),
    )


def _os_image(release_file: Path) -> str:
    if not release_file.exists():
        return platform.system()
    for line in release_file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()
