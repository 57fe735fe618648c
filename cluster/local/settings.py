"""What a local cluster was started with, kept so that it resumes as it was."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from cluster.local.layout import DEFAULT_BASE_PORT, Layout
from h9s.errors import UsageError

DEFAULT_WORKERS = 2
MAX_WORKERS = 50


@dataclass(frozen=True)
class Settings:
    """One cluster's settings. `runtime` is docker or process; `example_applied` keeps an example that
    its user deleted from coming back."""

    cluster_id: str
    base_port: int
    workers: int
    runtime: str
    example_applied: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the caller asks for; None: as it was, or the default."""

    base_port: int | None = None
    workers: int | None = None
    runtime: str | None = None


def load_settings(state_dir: Path) -> Settings | None:
    """The settings kept in a state directory; None if it holds no cluster.

    Raises UsageError if the directory holds something else, or a file that cannot be understood.
    """
    path = Layout(state_dir).settings_file
    try:
        document = yaml.safe_load(path.read_text())
        return Settings(**document)
    except FileNotFoundError:
        if state_dir.is_dir() and any(entry.name != "lock" for entry in state_dir.iterdir()):
            raise UsageError(
                f"{state_dir} holds no cluster, but it is not empty: name an empty or a new directory"
            ) from None
        return None
    except NotADirectoryError:
        raise UsageError(f"{state_dir} is not a directory") from None
    except (yaml.YAMLError, TypeError) as error:
        raise UsageError(f"{path} is damaged: {error}") from error


def save_settings(settings: Settings, state_dir: Path) -> None:
    """Keep the settings, in one step."""
    path = Layout(state_dir).settings_file
    scratch = path.with_suffix(".yaml.new")
    scratch.write_text(yaml.safe_dump(asdict(settings), sort_keys=False))
    scratch.replace(path)


def resolve(
    previous: Settings | None, wishes: Wishes, *, cluster_id: str, runtime: str, running: bool
) -> Settings:
    """The settings to run with.

    `runtime` is the one chosen for now. A cluster of which something runs keeps its ports, and its
    workers can grow but not shrink. Raises UsageError.
    """
    before = previous or Settings(cluster_id, DEFAULT_BASE_PORT, DEFAULT_WORKERS, runtime)
    workers = before.workers if wishes.workers is None else wishes.workers
    base_port = before.base_port if wishes.base_port is None else wishes.base_port
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError(f"--workers: {workers} is not between 1 and {MAX_WORKERS}")
    highest = base_port + 60 + 10 * workers
    if base_port < 1024 or highest > 65535:
        raise UsageError(f"--base-port: {base_port} is not between 1024 and {65535 - 60 - 10 * workers}")
    if running and base_port != before.base_port:
        raise UsageError(
            f"the cluster runs on base port {before.base_port}; stop it with scripts/down before it moves"
        )
    if running and workers < before.workers:
        raise UsageError(
            f"the cluster runs with {before.workers} workers; stop it with scripts/down before it shrinks"
        )
    return replace(before, base_port=base_port, workers=workers, runtime=runtime)
