"""From `-f` to objects: files, folders and standard input, checked before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h9s.api.codec import load_manifests, to_dict
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.yaml_text import documents
from h9s.cli.session import CommandError, Session

_EXTENSIONS = (".yaml", ".yml", ".json")
_STDIN = "-"


@dataclass(frozen=True)
class Manifest:
    """One object and the file it came from.

    `claims`: all that was written about it, in JSON's types. The message alone does not know whether
    somebody wrote `paused: false` or nothing; to `apply` that makes a difference.
    """

    message: ApiObject
    source: str
    claims: dict[str, Any]


def read_manifests(paths: Sequence[str], session: Session) -> list[Manifest]:
    """All objects of all files, in order, each in its namespace.

    Raises CommandError or InvalidError with the file's name: nothing there, not readable, not
    understood, twice the same object, another namespace than the one given with -n.
    """
    manifests = [manifest for source, text in _texts(paths) for manifest in _load(text, source)]
    if not manifests:
        raise CommandError(f"there are no objects in {', '.join(map(_title, paths))}")
    for manifest in manifests:
        _settle_namespace(manifest, session)
    _refuse_duplicates(manifests)
    return manifests


def _load(text: str, source: str) -> list[Manifest]:
    messages = load_manifests(text, source=source)
    written = [item for document in documents(text) for item in _items(document)]
    return [
        Manifest(message, source, with_written_zeros(to_dict(message), each))
        for message, each in zip(messages, written, strict=True)
    ]


def _items(document: Any) -> Iterator[dict[str, Any]]:
    """The objects of a document, those in a List too."""
    if document is not None and document.get("kind") == "List":
        for item in document.get("items") or ():
            yield from _items(item)
    elif document is not None:
        yield document


def with_written_zeros(known: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """`known`, completed with what was written as false, 0 or empty. Pure."""
    result = dict(known)
    for name, value in written.items():
        present = known.get(name)
        if name not in known:
            if value is not None and not value:
                result[name] = value
        elif isinstance(value, dict) and isinstance(present, dict):
            result[name] = with_written_zeros(present, value)
        elif isinstance(value, list) and isinstance(present, list):
            result[name] = [
                with_written_zeros(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
                for old, new in zip(present, value, strict=True)
            ]
    return result


def _title(path: str) -> str:
    return "standard input" if path == _STDIN else path


def _texts(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    if paths.count(_STDIN) > 1:
        raise CommandError("standard input can be read only once")
    for path in paths:
        if path == _STDIN:
            yield "standard input", _decode(sys.stdin.buffer.read(), "standard input")
        else:
            for file in _files(Path(path)):
                yield str(file), _decode(_read(file), str(file))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in _EXTENSIONS and file.is_file())
    if not found:
        raise CommandError(f"the folder {path} has no manifests ({', '.join(_EXTENSIONS)})")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"the file {file} does not exist") from None
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{source} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _settle_namespace(manifest: Manifest, session: Session) -> None:
    metadata = manifest.message.metadata
    if not kind_of(manifest.message).namespaced:
        return
    if not metadata.namespace:
        metadata.namespace = session.namespace
        manifest.claims.setdefault("metadata", {})["namespace"] = session.namespace
    elif session.explicit_namespace not in (None, metadata.namespace):
        raise CommandError(
            f"{manifest.source}: {describe(manifest.message)} is in namespace {metadata.namespace!r},"
            f" the command line says {session.explicit_namespace!r}"
        )


def describe(message: ApiObject) -> str:
    """`Deployment "web"`, or `Pod "web-*"` where the name is to be generated."""
    metadata = message.metadata
    return f'{kind_of(message).kind} "{metadata.name or metadata.generate_name + "*"}"'


def _refuse_duplicates(manifests: Sequence[Manifest]) -> None:
    seen: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        metadata = manifest.message.metadata
        key = (kind_of(manifest.message).resource, metadata.namespace, metadata.name)
        if metadata.name and key in seen:
            where = " and in ".join(dict.fromkeys((seen[key].source, manifest.source)))
            raise CommandError(f"{describe(manifest.message)} is given twice, in {where}")
        seen[key] = manifest
