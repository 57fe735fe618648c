"""The process runtime's memory: directories and small JSON files that outlive the howbelet.

  <root>/<pod uid>/pod.json                      whose it is
  <root>/<pod uid>/sandbox.<attempt>.json        its address
  <root>/<pod uid>/work/                         where its containers' working directories are
  <root>/<pod uid>/containers/<name>.<attempt>/  see `shim`

A file is there as a whole or not at all. What cannot be read is taken as not written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from h9s.kubelet.observed import PodIdentity


class ContainerId(NamedTuple):
    """A container's id in parts; as text `<pod uid>.<name>.<attempt>`."""

    pod_uid: str
    name: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.pod_uid}.{self.name}.{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> ContainerId:
        """Of the text."""
        uid, name, attempt = text.rsplit(".", 2)
        return cls(uid, name, int(attempt))


class PodDirectory:
    """One pod's directory; it need not exist."""

    def __init__(self, root: Path, uid: str) -> None:
        self.uid = uid
        self.path = root / uid

    @property
    def work(self) -> Path:
        """The pod's own corner of the file system."""
        return self.path / "work"

    def container(self, name: str, attempt: int) -> Path:
        """The directory of one run."""
        return self.path / "containers" / f"{name}.{attempt}"

    def sandbox(self, attempt: int) -> Path:
        """The file of one sandbox."""
        return self.path / f"sandbox.{attempt}.json"

    def sandboxes(self) -> Iterator[tuple[int, Path]]:
        """(attempt, file) of every sandbox there is."""
        for path in sorted(self.path.glob("sandbox.*.json")):
            yield int(path.name.split(".")[1]), path

    def containers(self) -> Iterator[tuple[str, int, Path]]:
        """(name, attempt, directory) of every run there is."""
        for path in sorted(self.path.glob("containers/*.*")):
            name, _, attempt = path.name.rpartition(".")
            yield name, int(attempt), path

    def identity(self) -> PodIdentity:
        """Whose it is."""
        known = read_json(self.path / "pod.json") or {}
        return PodIdentity(self.uid, str(known.get("namespace", "")), str(known.get("name", "")))


def pod_directories(root: Path) -> list[PodDirectory]:
    """All of a node's."""
    return [PodDirectory(root, path.name) for path in sorted(root.iterdir()) if path.is_dir()]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A whole file or none; for its owner alone, as environments hold secrets."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content; None if there is none, or it was cut off by a crash of the machine."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_alive(record: dict[str, Any]) -> bool:
    """Whether the process that a shim's record names still is that process, and not a zombie."""
    try:
        stat = Path(f"/proc/{record['pid']}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(b")")[2].split()
    return int(fields[19]) == record["start_ticks"] and fields[0] not in (b"Z", b"X")
