"""`cluster status -o wide`, yaml and json: how much of what is bounded each replica uses. Pure."""

from __future__ import annotations

import json
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict

from h9s._pb import cluster_pb2
from h9s.cli.replicas import ClusterView

_HEADER = [
    "REPLICA",
    "OBJECTS",
    "JOURNAL",
    "SNAPSHOTS",
    "HISTORY",
    "OLDEST-REVISION",
    "WATCHERS",
    "REQUEST-IDS",
    "WAITING",
    "DISK-FREE",
]


def usage_rows(view: ClusterView) -> list[list[str]]:
    """The table of the replicas that answer, title line first, by replica id."""
    answers = [answer for answer in view.answers.values() if answer is not None]
    return [_HEADER, *(_row(answer) for answer in sorted(answers, key=lambda answer: answer.replica_id))]


def _row(answer: cluster_pb2.ClusterStatusResponse) -> list[str]:
    usage = answer.usage
    free = size(usage.disk_free_bytes) if usage.disk_free_bytes else "-"
    return [
        answer.replica_id,
        str(answer.objects),
        size(usage.journal_bytes or answer.journal_bytes),
        size(usage.snapshot_bytes),
        size(usage.recent_history_bytes + usage.archive_bytes),
        str(max(answer.compact_revision, usage.first_revision)),
        str(answer.watchers),
        str(usage.remembered_requests),
        str(usage.pending_writes),
        f"{free} (short)" if usage.disk_is_short else free,
    ]


def shortages(view: ClusterView) -> list[str]:
    """One sentence for each replica whose disk is nearly full."""
    return [
        f"the disk of {answer.replica_id} is nearly full: {size(answer.usage.disk_free_bytes)} free, "
        f"{size(answer.usage.disk_reserve_bytes)} in reserve"
        + ("; it leads, and takes nothing that adds data" if answer.role == "leader" else "")
        for answer in view.answers.values()
        if answer is not None and answer.usage.disk_is_short
    ]


def size(count: int) -> str:
    """Bytes with three digits: 812B, 1.25MiB, 64.0MiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count}B" if unit == "B" else f"{value:.3g}{unit}"
        value /= 1024
    return f"{value:.4g}TiB"


def document(view: ClusterView, output: str) -> str:
    """All that the replicas say of themselves, as yaml or json; null for one that does not answer."""
    replicas = [
        {"address": address, "status": None if answer is None else _plain(answer)}
        for address, answer in sorted(view.answers.items())
    ]
    if output == "json":
        return json.dumps({"replicas": replicas}, indent=2) + "\n"
    return yaml.safe_dump({"replicas": replicas}, sort_keys=False)


def _plain(answer: cluster_pb2.ClusterStatusResponse) -> dict[str, Any]:
    """64-bit integers as numbers, the hash in hex."""
    plain: dict[str, Any] = MessageToDict(answer, always_print_fields_with_no_presence=True)
    if answer.state_hash:
        plain["stateHash"] = answer.state_hash.hex()
    return {name: _number(value) for name, value in plain.items()}


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    return int(value) if isinstance(value, str) and value.isdecimal() else value
