from __future__ import annotations

import dataclasses
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local.components import Component
from cluster.local.manager import check_ports
from cluster.local.processes import ProcessRecord, load_record, save_record, start_detached, tail
from h9s.errors import UsageError


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessRecord]:
    record = start_detached(["/bin/sleep", "1000"], log=tmp_path / "sleeper.log")
    yield record
    record.signal(signal.SIGKILL)
    record.wait(5.0)


def test_a_started_process_is_alive_until_it_is_stopped(sleeper: ProcessRecord):
    assert sleeper.is_alive()
    assert sleeper.stop(grace=5.0)
    assert not sleeper.is_alive()


def test_another_process_with_the_same_pid_is_not_the_recorded_one(sleeper: ProcessRecord):
    for stranger in (
        dataclasses.replace(sleeper, start_ticks=sleeper.start_ticks + 1),
        dataclasses.replace(sleeper, boot_id="another"),
    ):
        assert not stranger.is_alive()
        assert not stranger.signal(signal.SIGKILL)
    assert sleeper.is_alive()


def test_a_stopped_process_can_still_be_ended(sleeper: ProcessRecord):
    sleeper.signal(signal.SIGSTOP)
    assert sleeper.stop(grace=5.0)


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path):
    log = tmp_path / "stubborn.log"
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    )
    record = start_detached([sys.executable, "-c", program], log=log)
    while "deaf" not in tail(log):
        assert record.is_alive()
    assert not record.stop(grace=0.2)
    assert not record.is_alive()


def test_records_survive_a_round_trip_and_damage_is_not_a_record(tmp_path: Path, sleeper: ProcessRecord):
    path = tmp_path / "x.pid"
    assert load_record(path) is None
    save_record(sleeper, path)
    assert load_record(path) == sleeper
    path.write_text('{"pid": ')
    assert load_record(path) is None


def test_output_is_appended_to_the_log_and_its_tail_read(tmp_path: Path):
    log = tmp_path / "chatty.log"
    for word in ("first", "second"):
        record = start_detached(["/bin/sh", "-c", f"echo {word}; echo {word} again >&2"], log=log)
        assert record.wait(5.0)
    assert tail(log, 3) == "first again\nsecond\nsecond again"


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        start_detached([str(tmp_path / "nothing")], log=tmp_path / "x.log")


def test_a_taken_port_is_named_with_its_purpose():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} on 127.0.0.1 \(r1: API\) cannot be used"):
            check_ports(Component(name="r1", command=(), ports={port: "API"}))
    check_ports(Component(name="r1", command=(), ports={port: "API"}))
