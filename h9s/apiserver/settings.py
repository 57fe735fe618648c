"""The apiserver's configuration file: YAML in, one frozen dataclass out.

Reads files and nothing else; every fault names the file, the field, and what was expected.
Relative paths are relative to the file's own folder.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from h9s.errors import UsageError
from h9s.raft.archiving import HistorySettings


@dataclass(frozen=True)
class ReplicaSettings:
    """One member of the control plane. Addresses are "host:port"."""

    id: str
    api_address: str
    peer_address: str
    #: Where it lets machines join; empty where unknown.
    join_address: str = ""


@dataclass(frozen=True)
class PkiSettings:
    """Where the certificates are. The CA's key signs the certificates of joining nodes."""

    ca: Path
    ca_key: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Timings:
    """Durations in milliseconds."""

    election_timeout_ms: tuple[int, int] = (400, 800)
    heartbeat_ms: int = 100
    #: How long a node may be silent before it counts as not ready, and how often it should beat.
    node_grace_period_ms: int = 5000
    node_heartbeat_ms: int = 1000
    #: How long a call without a deadline of its own may take.
    request_timeout_ms: int = 10_000
    #: How often a watcher hears the current revision when nothing happens.
    bookmark_ms: int = 1000


@dataclass(frozen=True)
class Settings:
    """What one apiserver is told. `metrics_address` and `join_address` may be empty: not served."""

    cluster_id: str
    replica_id: str
    data_dir: Path
    api_address: str
    peer_address: str
    metrics_address: str
    join_address: str
    replicas: tuple[ReplicaSettings, ...]
    pki: PkiSettings
    timings: Timings = Timings()
    #: Free space on the data folder's disk below which nothing is written that adds data.
    disk_reserve_bytes: int = 256 << 20
    history: HistorySettings = field(default_factory=HistorySettings)
    #: The file that these are from.
    source: Path = Path("apiserver.yaml")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read the file. Raises UsageError."""
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"the configuration {path} is not YAML: {error}") from error
        return parse(document, source=path)


def parse(document: object, *, source: Path) -> Settings:
    """Settings from a parsed document; `source` names the file in errors. Raises UsageError."""
    top = _Section(document, source, "")
    replicas = tuple(_replica(section) for section in top.sections("replicas"))
    pki = top.section("pki")
    settings = Settings(
        cluster_id=top.text("clusterId"),
        replica_id=top.text("replicaId"),
        data_dir=top.path("dataDir"),
        api_address=top.address("apiAddress"),
        peer_address=top.address("peerAddress"),
        metrics_address=top.address("metricsAddress", required=False),
        join_address=top.address("joinAddress", required=False),
        replicas=replicas,
        pki=PkiSettings(
            ca=pki.path("ca"),
            ca_key=pki.path("caKey"),
            certificate=pki.path("certificate"),
            key=pki.path("key"),
        ),
        timings=_timings(top.section("timings", required=False)),
        disk_reserve_bytes=top.byte_count("diskReserveBytes", Settings.disk_reserve_bytes),
        history=_history(top),
        source=source,
    )
    pki.refuse_others()
    top.refuse_others()
    _check_membership(settings, source)
    return settings


def _history(top: _Section) -> HistorySettings:
    standard = HistorySettings()
    in_memory = top.byte_count("historyInMemoryBytes", standard.recent_max_bytes)
    return HistorySettings(
        max_bytes=top.byte_count("historyMaxBytes", standard.max_bytes),
        max_age=float(top.seconds("historyMaxAgeSeconds", int(standard.max_age))),
        recent_max_bytes=in_memory,
        batch_min_bytes=min(standard.batch_min_bytes, in_memory // 4),
    )


def _replica(section: _Section) -> ReplicaSettings:
    replica = ReplicaSettings(
        id=section.text("id"),
        api_address=section.address("apiAddress"),
        peer_address=section.address("peerAddress"),
        join_address=section.address("joinAddress", required=False),
    )
    section.refuse_others()
    return replica


def _timings(section: _Section) -> Timings:
    standard = Timings()
    timings = Timings(
        election_timeout_ms=section.millisecond_range("electionTimeoutMs", standard.election_timeout_ms),
        heartbeat_ms=section.milliseconds("heartbeatMs", standard.heartbeat_ms),
        node_grace_period_ms=section.milliseconds("nodeGracePeriodMs", standard.node_grace_period_ms),
        node_heartbeat_ms=section.milliseconds("nodeHeartbeatMs", standard.node_heartbeat_ms),
        request_timeout_ms=section.milliseconds("requestTimeoutMs", standard.request_timeout_ms),
        bookmark_ms=section.milliseconds("bookmarkMs", standard.bookmark_ms),
    )
    section.refuse_others()
    return timings


def _check_membership(settings: Settings, source: Path) -> None:
    ids = [replica.id for replica in settings.replicas]
    if len(set(ids)) != len(ids):
        raise UsageError(f"{source}: replicas: an id is given twice in {', '.join(ids)}")
    if settings.replica_id not in ids:
        known = ", ".join(ids) or "none"
        raise UsageError(f"{source}: replicaId: {settings.replica_id!r} is not among replicas: {known}")


class _Section:
    """A mapping of the file that remembers which fields were asked for."""

    def __init__(self, content: object, source: Path, path: str) -> None:
        if not isinstance(content, Mapping):
            where = path or "the file"
            raise UsageError(f"{source}: {where}: expected a mapping, found {_type_name(content)}")
        self._content = content
        self._source = source
        self._path = path
        self._known: set[str] = set()

    def section(self, name: str, *, required: bool = True) -> _Section:
        value = self._take(name, required=required)
        return _Section({} if value is None else value, self._source, self._name(name))

    def sections(self, name: str) -> list[_Section]:
        value = self._take(name, required=True)
        if not isinstance(value, list):
            raise self._fault(name, f"expected a list, found {_type_name(value)}")
        return [_Section(item, self._source, f"{self._name(name)}[{i}]") for i, item in enumerate(value)]

    def text(self, name: str, *, required: bool = True) -> str:
        value = self._take(name, required=required)
        if value is None:
            return ""
        if not isinstance(value, str) or not value:
            raise self._fault(name, f"expected text, found {_type_name(value)}")
        return value

    def path(self, name: str) -> Path:
        return self._source.parent / Path(self.text(name)).expanduser()

    def address(self, name: str, *, required: bool = True) -> str:
        value = self.text(name, required=required)
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdecimal() and int(port) < 65536):
            raise self._fault(name, f"{value!r} is not of the form host:port")
        return value

    def milliseconds(self, name: str, default: int) -> int:
        value = self._take(name, required=False)
        return default if value is None else self._duration(name, value)

    def seconds(self, name: str, default: int) -> int:
        value = self._take(name, required=False)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._fault(name, f"expected a positive number of seconds, found {value!r}")
        return value

    def byte_count(self, name: str, default: int) -> int:
        value = self._take(name, required=False)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._fault(name, f"expected a number of bytes, found {value!r}")
        return value

    def millisecond_range(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        value = self._take(name, required=False)
        if value is None:
            return default
        if not isinstance(value, list) or len(value) != 2:
            raise self._fault(name, "expected two numbers, [shortest, longest]")
        shortest, longest = (self._duration(name, item) for item in value)
        if shortest > longest:
            raise self._fault(name, f"the shortest, {shortest}, is above the longest, {longest}")
        return shortest, longest

    def refuse_others(self) -> None:
        """Raise UsageError if there is a field that nobody asked for."""
        for name in self._content:
            if name not in self._known:
                similar = difflib.get_close_matches(str(name), self._known, n=1)
                hint = (
                    f", did you mean {similar[0]!r}?"
                    if similar
                    else f"; known are {', '.join(sorted(self._known))}"
                )
                raise self._fault(str(name), f"unknown field{hint}")

    def _duration(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._fault(name, f"expected a positive number of milliseconds, found {value!r}")
        return value

    def _take(self, name: str, *, required: bool) -> Any:
        self._known.add(name)
        value = self._content.get(name)
        if value is None and required:
            raise self._fault(name, "is missing")
        return value

    def _name(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _fault(self, name: str, message: str) -> UsageError:
        return UsageError(f"{self._source}: {self._name(name)}: {message}")


def _type_name(value: object) -> str:
    return "nothing" if value is None or value == "" else type(value).__name__
