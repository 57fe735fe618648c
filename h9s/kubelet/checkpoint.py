"""The pods of this node on disk, so that a howbelet that starts while the control plane is away knows
what it has to run. Only what was bound to this node is here; nothing is ever decided from it once
the apiservers have answered."""

from __future__ import annotations

import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from h9s._pb import core_pb2

logger = logging.getLogger(__name__)


class Checkpoint:
    """One file per pod, named by its uid. What is lost in a crash is corrected by the next list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[str, bytes] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def save(self, pod: core_pb2.Pod) -> None:
        """Keep what the pod is; of its status only what says whether it ever ran."""
        kept = core_pb2.Pod()
        kept.CopyFrom(pod)
        kept.metadata.resource_version = ""
        kept.status.Clear()
        kept.status.phase = pod.status.phase
        if pod.status.HasField("start_time"):
            kept.status.start_time.CopyFrom(pod.status.start_time)
        content = kept.SerializeToString(deterministic=True)
        if self._saved.get(pod.metadata.uid) == content:
            return
        target = self._file(pod.metadata.uid)
        temporary = target.with_suffix(".new")
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        except OSError as error:
            # A full disk must not keep this node from running its pods.
            logger.warning("pod %s cannot be kept on disk: %s", pod.metadata.name, error)
            return
        self._saved[pod.metadata.uid] = content

    def remove(self, uid: str) -> None:
        """The pod is gone."""
        self._saved.pop(uid, None)
        self._file(uid).unlink(missing_ok=True)

    def load(self) -> list[core_pb2.Pod]:
        """Every pod that was kept; a damaged file is left out, with a word in the log."""
        found = []
        for path in sorted(self._folder.glob("*.pod")):
            try:
                found.append(core_pb2.Pod.FromString(path.read_bytes()))
            except DecodeError as error:
                logger.warning("%s is damaged and is left out: %s", path, error)
        return found

    def _file(self, uid: str) -> Path:
        return self._folder / f"{uid}.pod"
