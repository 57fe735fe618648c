"""A copy of the engine's module for one replica, with what it takes from outside handed in.

See `engine`, which says what is replaced and why.
"""

from __future__ import annotations

import importlib.util
import logging
import random
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from h9s.raft.errors import EngineChangedError, SafetyError
from h9s.raft.journal import Journal


def private_copy(*, monotonic: Callable[[], float], rng: random.Random, journal: Journal) -> ModuleType:
    """A module of its own. Raises EngineChangedError if it lacks what is to be replaced."""
    spec = importlib.util.find_spec("pysyncobj.syncobj")
    if spec is None or spec.loader is None:
        raise EngineChangedError("the module pysyncobj.syncobj cannot be found")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    replacements = {
        "monotonicTime": monotonic,
        "random": rng,
        "pickle": _NoPickle(),
        "createJournal": lambda path: journal,
        "createPoller": lambda kind: _NoPoller(),
        "PIPE_NOTIFIER_ENABLED": False,
        "logger": _engine_logger,
    }
    for name, replacement in replacements.items():
        if not hasattr(module, name):
            raise EngineChangedError(f"pysyncobj.syncobj has no {name} to replace")
        setattr(module, name, replacement)
    return module


class _NoPickle:
    """Nothing is pickled or unpickled."""

    def __getattr__(self, name: str) -> NoReturn:
        raise SafetyError(f"the engine tried to use pickle.{name}")


class _NoPoller:
    """Sockets belong to the event loop."""

    def poll(self, timeout: float) -> None:
        pass


class _WithoutFalseAlarm(logging.Filter):
    """The engine cries that it truncates applied entries whenever entries overlap; `Journal.add`
    cuts only on a conflict and refuses to cut what is committed."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("truncating already-applied")


_engine_logger = logging.getLogger("h9s.raft.pysyncobj")
_engine_logger.addFilter(_WithoutFalseAlarm())
