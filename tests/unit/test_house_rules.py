"""Rules of the whole code base that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "h9s").rglob("*.py") if "_pb" not in path.parts)

#: Attributes that ask the machine for time or chance: those come from outside, so that a seed decides.
FORBIDDEN_CALLS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "random": {
        "random",
        "randint",
        "choice",
        "choices",
        "shuffle",
        "uniform",
        "randrange",
        "getrandbits",
        "sample",
    },
    "uuid": {"uuid1", "uuid4"},
    "os": {"urandom", "getrandom"},
    "secrets": {"token_bytes", "token_hex", "token_urlsafe", "randbits", "choice"},
}
#: The clock itself, and a program that runs alone in a bare interpreter.
OWNERS = {ROOT / "h9s" / "clock.py", ROOT / "h9s" / "kubelet" / "process" / "shim.py"}


def forbidden_calls(tree: ast.AST) -> Iterator[str]:
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_CALLS:
            for alias in node.names:
                if alias.name in FORBIDDEN_CALLS[node.module]:
                    yield f"line {node.lineno}: from {node.module} import {alias.name}"
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        module = imported.get(name, name)
        is_module = isinstance(owner, ast.Attribute) or name in imported or name in ("datetime", "date")
        if is_module and node.func.attr in FORBIDDEN_CALLS.get(module, ()):
            yield f"line {node.lineno}: {module}.{node.func.attr}()"


def test_time_and_chance_come_from_outside():
    found = {
        str(path.relative_to(ROOT)): list(forbidden_calls(ast.parse(path.read_text())))
        for path in MODULES
        if path not in OWNERS
    }
    assert {path: calls for path, calls in found.items() if calls} == {}


def test_the_rule_finds_what_it_forbids():
    source = "import time, random as chance\nfrom uuid import uuid4\ntime.time()\nchance.choice([1])\n"
    source += "rng.choice([1])\n"
    found = list(forbidden_calls(ast.parse(source)))
    assert found == ["line 2: from uuid import uuid4", "line 3: time.time()", "line 4: random.choice()"]


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_product_does_not_know_its_tools():
    assert len(MODULES) > 100
    for path in MODULES:
        tops = {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text()))}
        assert not tops & {"cluster", "benchmarks", "tests"}, path
