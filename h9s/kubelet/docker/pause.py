"""The image of the sandboxes: one program that sleeps, assembled here, so that no registry is needed.

The program is a static ELF executable of some 150 bytes that calls pause(2), or on machines without
it ppoll(2), for ever. As process 1 it ignores every signal but SIGKILL: sandboxes have that as their
stop signal.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile

from h9s.errors import UnsupportedError

REPOSITORY = "h9s/pause"
TAG = "1"
IMAGE = f"{REPOSITORY}:{TAG}"
DIGEST_LABEL = "h9s.pause"

_BASE_ADDRESS = 0x400000
_HEADER_SIZE, _PROGRAM_HEADER_SIZE = 64, 56

# loop: mov eax, 34 (pause); syscall; jmp loop
_X86_64 = bytes.fromhex("b822000000 0f05 ebf7")
# loop: x0..x3 = 0; x8 = 73 (ppoll); svc 0; b loop
_AARCH64 = struct.pack(
    "<7I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA
)
#: By the architecture's name in Docker and in uname: ELF machine number, code.
_MACHINES = {
    "x86_64": (62, _X86_64),
    "amd64": (62, _X86_64),
    "aarch64": (183, _AARCH64),
    "arm64": (183, _AARCH64),
}


def program(architecture: str) -> bytes:
    """The executable. Raises UnsupportedError for an architecture that it has not been written for."""
    try:
        machine, code = _MACHINES[architecture]
    except KeyError:
        raise UnsupportedError(
            f"no sandbox program for architecture {architecture!r}; there is one for {', '.join(_MACHINES)}"
        ) from None
    offset = _HEADER_SIZE + _PROGRAM_HEADER_SIZE
    size = offset + len(code)
    # 64 bits, little endian, ELF version 1, System V.
    identification = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    header = identification + struct.pack(
        "<HHIQQQIHHHHHH",
        2,  # an executable
        machine,
        1,
        _BASE_ADDRESS + offset,
        _HEADER_SIZE,
        0,
        0,
        _HEADER_SIZE,
        _PROGRAM_HEADER_SIZE,
        1,
        0,
        0,
        0,
    )
    # One segment: the whole file, readable and executable, aligned for the largest page size.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE_ADDRESS, _BASE_ADDRESS, size, size, 0x10000)
    return header + segment + code


def archive(architecture: str) -> bytes:
    """The image's file system, as `docker import` takes it; the same every time."""
    content = program(architecture)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(architecture: str) -> str:
    """Tells this image from one that an earlier version made."""
    return hashlib.sha256(program(architecture)).hexdigest()[:16]


def changes(architecture: str) -> list[str]:
    """The image's settings, as `docker import --change` takes them."""
    return ['ENTRYPOINT ["/pause"]', f"LABEL {DIGEST_LABEL}={digest(architecture)}"]
