"""Where a static busybox comes from: this machine, or Debian's package of it. Never needs root."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from h9s.errors import H9sError

_PT_INTERP = 3


class BusyboxError(H9sError):
    """No static busybox could be had; the message says what to do."""


def is_static_elf(program: bytes) -> bool:
    """Whether this is a 64-bit little-endian ELF program that needs no dynamic loader."""
    if program[:6] != b"\x7fELF\x02\x01" or len(program) < 64:
        return False
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    headers = [offset + size * index for index in range(count)]
    if any(header + 4 > len(program) for header in headers):
        return False
    return all(struct.unpack_from("<I", program, header)[0] != _PT_INTERP for header in headers)


def find_busybox() -> bytes:
    """A static busybox: the host's, else Debian's `busybox-static`, unpacked without installing it.

    Raises BusyboxError.
    """
    for place in (shutil.which("busybox"), "/bin/busybox", "/usr/bin/busybox"):
        if place is not None and Path(place).is_file() and is_static_elf(program := Path(place).read_bytes()):
            return program
    return _download()


def _download() -> bytes:
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise BusyboxError(
            "the example image needs a static busybox: this machine has none, and no "
            f"{missing[0]} to get one with. Install one, or use --runtime process"
        )
    with tempfile.TemporaryDirectory(prefix="h9s-busybox-") as folder:
        where = Path(folder)
        fault = _run(["apt-get", "download", "busybox-static"], where)
        if fault:
            # A machine whose package lists are missing or old: fetch them into the temporary folder.
            own_lists = _private_lists(where)
            fault = _run(["apt-get", *own_lists, "update"], where)
            fault = fault or _run(["apt-get", *own_lists, "download", "busybox-static"], where)
        packages = sorted(where.glob("busybox-static_*.deb"))
        if fault or not packages:
            raise BusyboxError(
                "the example image needs a static busybox: this machine has none, and `apt-get download "
                f"busybox-static` failed ({fault or 'no package arrived'}). "
                "Install the package busybox-static, or use --runtime process"
            )
        fault = _run(["dpkg-deb", "-x", str(packages[0]), str(where / "root")], where)
        for inside in ("bin/busybox", "usr/bin/busybox"):
            if (program := where / "root" / inside).is_file():
                return program.read_bytes()
        raise BusyboxError(f"{packages[0].name} holds no busybox: {fault or 'unexpected contents'}")


def _private_lists(where: Path) -> list[str]:
    for folder in ("lists/partial", "cache/archives/partial"):
        (where / folder).mkdir(parents=True)
    return ["-o", f"Dir::State::Lists={where / 'lists'}", "-o", f"Dir::Cache={where / 'cache'}"]


def _run(command: list[str], where: Path) -> str:
    """Run a command in a folder; "" if it went well, else what it said last."""
    done = subprocess.run(
        command,
        cwd=where,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return ""
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
