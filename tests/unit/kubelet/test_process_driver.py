"""The process driver's parts that need no process; the rest is tested with real ones."""

import ipaddress
import itertools
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.kubelet.process import images, shim
from h9s.kubelet.process.addresses import Addresses, candidates
from h9s.kubelet.process.logs import LineFormatter, read_log
from h9s.kubelet.process.records import ContainerId, read_json, write_json
from h9s.kubelet.runtime import ImagePullError, LogOptions, SandboxError


@given(st.text(min_size=1))
def test_a_pods_addresses_are_its_own_and_away_from_the_machines(uid):
    first = list(itertools.islice(candidates(uid), 5))
    assert first == list(itertools.islice(candidates(uid), 5))
    for text in first:
        address = ipaddress.ip_address(text)
        assert address.is_loopback
        assert address not in ipaddress.ip_network("127.0.0.0/16")
        assert int(address) & 0xFF not in (0, 255)


def test_two_pods_never_hold_one_address(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "h9s.kubelet.process.addresses.candidates", lambda uid: iter(["127.1.0.1", "127.1.0.2"])
    )
    addresses, others = Addresses(tmp_path / "shared"), Addresses(tmp_path / "shared")
    a, b, c = (tmp_path / name for name in "abc")
    for holder in (a, b, c):
        holder.mkdir()
    assert addresses.reserve("a", a) == "127.1.0.1"
    assert others.reserve("b", b) == "127.1.0.2"
    assert addresses.reserve("a", a) == "127.1.0.1"
    with pytest.raises(SandboxError, match="no free address"):
        addresses.reserve("c", c)
    others.release("127.1.0.1", b)
    with pytest.raises(SandboxError):
        addresses.reserve("c", c)
    addresses.release("127.1.0.1", a)
    assert addresses.reserve("c", c) == "127.1.0.1"


def test_an_address_is_free_when_its_holder_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("h9s.kubelet.process.addresses.candidates", lambda uid: iter(["127.1.0.1"]))
    addresses = Addresses(tmp_path / "shared")
    holder = tmp_path / "a"
    holder.mkdir()
    addresses.reserve("a", holder)
    holder.rmdir()
    assert addresses.reserve("b", tmp_path) == "127.1.0.1"


@pytest.mark.parametrize(
    "image", ["h9s-hello", "h9s-hello:1", "localhost:5000/x/h9s-hello:2", "h9s-hello@sha256:1"]
)
def test_the_example_image_is_a_program_of_ours(image):
    argv = images.command_line(image, [], [])
    assert argv[0] == sys.executable
    assert argv[-1].endswith("hello.py")


@pytest.mark.parametrize(
    ("image", "command", "arguments", "argv"),
    [
        ("nginx", ["nginx"], ["-v"], ("nginx", "-v")),
        ("busybox:1.37", [], ["echo", "hi"], ("echo", "hi")),
        ("busybox", [], [], ("sh",)),
        ("busybox", ["sh", "-c"], ["true"], ("sh", "-c", "true")),
    ],
)
def test_a_containers_own_command_is_run_with_the_machines_programs(image, command, arguments, argv):
    assert images.command_line(image, command, arguments) == argv


def test_an_image_without_a_program_says_what_can_be_done():
    with pytest.raises(ImagePullError, match=r"no program for 'nginx:1'.*busybox.*command") as caught:
        images.command_line("nginx:1", [], ["-v"])
    assert caught.value.waiting_reason == "ErrImagePull"


LINE = b"2026-01-02T03:04:05.500000000Z stdout F some text with  spaces\n"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (LogOptions(), b"some text with  spaces\n"),
        (LogOptions(timestamps=True), b"2026-01-02T03:04:05.500000000Z some text with  spaces\n"),
        (LogOptions(since=1767323045.4), b"some text with  spaces\n"),
        (LogOptions(since=1767323045.6), None),
    ],
)
def test_a_line_of_a_log_is_shown_as_asked(options, shown):
    assert LineFormatter(options).format(LINE) == shown


def test_a_part_of_a_line_goes_without_an_end_and_an_empty_line_is_one():
    formatter = LineFormatter(LogOptions())
    assert formatter.format(b"2026-01-02T03:04:05.5Z stderr P half\n") == b"half"
    assert formatter.format(b"2026-01-02T03:04:05.5Z stderr F \n") == b"\n"


def test_a_line_in_parts_has_one_time():
    formatter = LineFormatter(LogOptions(timestamps=True))
    assert formatter.format(b"2026-01-02T03:04:05.5Z stdout P one, \n") == b"2026-01-02T03:04:05.5Z one, "
    assert formatter.format(b"2026-01-02T03:04:05.6Z stderr F other\n") == b"2026-01-02T03:04:05.6Z other\n"
    assert formatter.format(b"2026-01-02T03:04:05.7Z stdout F two\n") == b"two\n"
    assert formatter.format(b"2026-01-02T03:04:05.8Z stdout F new\n") == b"2026-01-02T03:04:05.8Z new\n"


def test_no_two_lines_of_a_log_have_the_same_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.time_ns", lambda: 1_767_323_045_999_999_999)
    log = shim.Log()
    log.add("stdout", b"1\n2\n")
    log.add("stderr", b"3\n")
    os.close(log.file)
    assert (tmp_path / "log").read_text().splitlines() == [
        "2026-01-02T03:04:05.999999999Z stdout F 1",
        "2026-01-02T03:04:06.000000000Z stdout F 2",
        "2026-01-02T03:04:06.000000001Z stderr F 3",
    ]


async def test_the_older_file_is_read_first_and_the_tail_counts_over_both(tmp_path):
    for name, numbers in (("log.1", range(3)), ("log", range(3, 6))):
        (tmp_path / name).write_bytes(b"".join(b"2026-01-02T03:04:05.5Z stdout F %d\n" % n for n in numbers))

    async def read(**options):
        return [piece async for piece in read_log(tmp_path, LogOptions(**options))]

    assert await read() == [b"%d\n" % number for number in range(6)]
    assert await read(tail_lines=4) == [b"2\n", b"3\n", b"4\n", b"5\n"]
    assert await read(tail_lines=0) == []


async def test_following_goes_over_to_the_next_file_and_ends_with_the_container(tmp_path):
    line = b"2026-01-02T03:04:05.5Z stdout F %d\n"
    (tmp_path / "log").write_bytes(line % 1 + line[:20])
    reading = read_log(tmp_path, LogOptions(follow=True))
    assert await anext(reading) == b"1\n"
    with (tmp_path / "log").open("ab") as file:
        file.write((line % 2)[20:])
    (tmp_path / "log").rename(tmp_path / "log.1")
    (tmp_path / "log").write_bytes(line % 3)
    (tmp_path / "exit.json").write_text("{}")
    assert [piece async for piece in reading] == [b"2\n", b"3\n"]


@given(st.binary(max_size=200_000).map(lambda line: line.replace(b"\n", b" ")))
def test_a_long_line_is_cut_into_parts_and_nothing_is_lost(line):
    parts, last = shim.in_parts(line)
    assert b"".join([*parts, last]) == line
    assert all(len(part) == shim.LINE_BYTES for part in parts)
    assert len(last) <= shim.LINE_BYTES


def test_a_container_id_is_read_back():
    container_id = ContainerId("0-1-2", "side-car", 12)
    assert ContainerId.parse(str(container_id)) == container_id


def test_a_file_that_was_cut_off_counts_as_not_written(tmp_path):
    path = tmp_path / "x" / "exit.json"
    assert read_json(path) is None
    write_json(path, {"exit_code": 3})
    assert read_json(path) == {"exit_code": 3}
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text('{"exit_c')
    assert read_json(path) is None
