"""How a client finds the cluster and proves who it is: one file with everything inline.

The file is YAML: the apiservers' addresses, the cluster's CA, the client's certificate and its
private key (PEM). This module reads and writes it; it connects to nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from h9s.errors import UsageError


@dataclass(frozen=True)
class ClientConfig:
    """What a client needs. `servers` are "host:port" of any of the apiservers, in any order; the
    rest are learned from them. `ca`, `certificate` and `key` are PEM; all three empty: no TLS."""

    servers: tuple[str, ...]
    ca: bytes
    certificate: bytes
    key: bytes
    #: Where commands look when no namespace is given.
    namespace: str = "default"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClientConfig:
        """Read a file that `save` wrote. Raises UsageError, naming the file and what is wrong."""
        try:
            document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read the client configuration {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"the client configuration {path} is not YAML: {error}") from error
        return _parse(document, str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, readable by its owner alone, in one step: a reader sees all or nothing."""
        document = {
            "servers": list(self.servers),
            "namespace": self.namespace,
            "ca": self.ca.decode("ascii"),
            "certificate": self.certificate.decode("ascii"),
            "key": self.key.decode("ascii"),
        }
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                yaml.dump(document, file, Dumper=_BlockTextDumper, sort_keys=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


class _BlockTextDumper(yaml.SafeDumper):
    """Writes text of several lines (PEM) as a block that people can read."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockTextDumper.add_representer(str, _represent_text)

_FIELDS = ("servers", "namespace", "ca", "certificate", "key")


def _parse(document: Any, source: str) -> ClientConfig:
    if not isinstance(document, dict):
        raise UsageError(f"the client configuration {source} is not a mapping")
    unknown = sorted(str(name) for name in document.keys() - set(_FIELDS))
    if unknown:
        raise UsageError(f"{source}: unknown field {unknown[0]!r}; known are {', '.join(_FIELDS)}")
    servers = document.get("servers")
    if not isinstance(servers, list) or not servers:
        raise UsageError(f"{source}: servers: give at least one address, as host:port")
    for server in servers:
        host, _, port = str(server).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"{source}: servers: {server!r} is not of the form host:port")
    text = {name: _text(document, name, source) for name in _FIELDS[1:]}
    given = [name for name in ("ca", "certificate", "key") if text[name]]
    if given and len(given) < 3:
        missing = next(name for name in ("ca", "certificate", "key") if not text[name])
        raise UsageError(f"{source}: {missing}: is missing, while {given[0]} is given")
    return ClientConfig(
        servers=tuple(str(server) for server in servers),
        ca=text["ca"].encode(),
        certificate=text["certificate"].encode(),
        key=text["key"].encode(),
        namespace=text["namespace"] or "default",
    )


def _text(document: dict[Any, Any], name: str, source: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise UsageError(f"{source}: {name}: expected text, found {type(value).__name__}")
    return value
