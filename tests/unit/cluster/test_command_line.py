from __future__ import annotations

import click
import pytest

from cluster.command_line import run_command
from h9s.errors import UnavailableError, UsageError


def command(error: BaseException | None = None, code: int = 0) -> click.Command:
    @click.command()
    @click.pass_context
    def main(context: click.Context) -> None:
        if error is not None:
            raise error
        context.exit(code)

    return main


def run(main: click.Command, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["x"])
    return run_command(main, name="x", interrupted="interrupted")


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_chooses_its_exit_code(code: int, monkeypatch: pytest.MonkeyPatch):
    assert run(command(code=code), monkeypatch) == code


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("no such port"), 2, "error: no such port\n"),
        (UnavailableError("nobody leads"), 1, "error: nobody leads\n"),
        (click.Abort(), 130, "interrupted\n"),
        (ExceptionGroup("g", [ExceptionGroup("h", [UnavailableError("deep")])]), 1, "error: deep\n"),
    ],
)
def test_an_expected_failure_is_one_message(
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert run(command(error), monkeypatch) == code
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    "error", [KeyError("x"), ExceptionGroup("g", [UnavailableError("a"), KeyError("b")])]
)
def test_a_mistake_of_ours_is_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(type(error)):
        run(command(error), monkeypatch)
