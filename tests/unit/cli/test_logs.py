from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.log_lines import LogLines
from h9s.errors import NotFoundError, UnavailableError
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import START, FakeCluster
from tests.unit.cli.objects import deployment, pod


def _line(second: int, text: str) -> bytes:
    return f"2023-11-14T22:13:{second:02d}.{second:09d}Z {text}\n".encode()


def test_a_log_is_printed_as_it_is(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.logs["web", "app"] = [[b"one\ntw", b"o\nno line end"]]
    assert howbectl("logs web").stdout == "one\ntwo\nno line end"
    (request,) = cluster.log_requests
    assert (request.follow, request.timestamps, request.HasField("tail_lines")) == (False, False, False)


def test_options_reach_the_howbelet(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", containers=("app", "sidecar")))
    cluster.logs["web", "sidecar"] = [[], []]
    howbectl("logs web -c sidecar -p --tail=5 --since=2m --timestamps")
    howbectl("logs pod/web sidecar")
    first, second = cluster.log_requests
    assert (first.previous, first.tail_lines, first.since_seconds, first.timestamps) == (True, 5, 120, True)
    assert second.container == "sidecar"


def test_of_several_containers_the_first_is_taken_and_said(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", containers=("app", "sidecar")))
    cluster.logs["web", "app"] = [[b"x\n"]]
    result = howbectl("logs web")
    assert result.stdout == "x\n"
    assert result.stderr == 'Defaulted container "app" out of: app, sidecar\n'
    assert "has no container 'ap'; there are: app, sidecar" in howbectl("logs web -c ap").stderr


def test_all_containers_with_their_names(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", containers=("app", "sidecar")))
    cluster.logs = {("web", "app"): [[b"x\ny\n"]], ("web", "sidecar"): [[b"z\n"]]}
    assert howbectl("logs web --all-containers --prefix").lines == [
        "[pod/web/app] x",
        "[pod/web/app] y",
        "[pod/web/sidecar] z",
    ]


def test_a_deployment_stands_for_one_of_its_pods_or_all(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment("web"))
    for name in ("web-1", "web-2"):
        cluster.put(pod(name, labels={"app": "web"}))
        cluster.logs[name, "app"] = [[b"hello\n"] for _ in range(3)]
    leaving = pod("web-0", labels={"app": "web"})
    leaving.metadata.deletion_timestamp.seconds = START
    cluster.put(leaving)
    one = howbectl("logs deploy/web")
    assert (one.stdout, one.stderr) == ("hello\n", "Found 3 pods, using pod/web-1\n")
    cluster.remove(leaving)
    assert howbectl("logs deploy/web --all-pods").lines == ["[pod/web-1/app] hello", "[pod/web-2/app] hello"]
    assert howbectl("logs -l app=web -f").lines == ["hello", "hello"]


def test_by_selector_the_last_ten_lines_of_each(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web", labels={"app": "web"}))
    cluster.logs["web", "app"] = [[b"x\n"]]
    assert howbectl("logs -l app=web").stdout == "x\n"
    assert cluster.log_requests[0].tail_lines == 10
    assert "no pods match" in howbectl("logs -l app=other").stderr


def test_following_goes_on_where_the_connection_broke(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.logs["web", "app"] = [
        [
            _line(1, "one"),
            _line(2, "two") + b"2023-11-14T22:13:03.0",
            UnavailableError("a:1: connection reset"),
        ],
        [_line(1, "one"), _line(2, "two"), _line(3, "three")],
    ]
    assert howbectl("logs -f web --tail=5").lines == ["one", "two", "three"]
    again = cluster.log_requests[1]
    assert not again.HasField("tail_lines")
    assert again.since_seconds == 60 + 18


def test_following_keeps_the_timestamps_where_they_are_wanted(
    cluster: FakeCluster, howbectl: Howbectl
) -> None:
    cluster.put(pod("web"))
    cluster.logs["web", "app"] = [[_line(1, "one")]]
    assert howbectl("logs -f web --timestamps").stdout.encode() == _line(1, "one")


@pytest.mark.parametrize("follow", ["", "-f --request-timeout=100ms"])
def test_a_howbelet_that_is_gone_is_one_clear_message(
    cluster: FakeCluster, howbectl: Howbectl, follow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("h9s.cli.commands.logs._PAUSE", 0.01)
    cluster.put(pod("web"))
    gone = UnavailableError("the howbelet of node 'n1' does not answer")
    cluster.logs["web", "app"] = [[gone] for _ in range(99)]
    result = howbectl(f"logs web {follow}")
    assert result.exit_code == 1
    assert result.stderr == "error: the log broke off: the howbelet of node 'n1' does not answer\n"


def test_an_error_of_the_server_ends_it(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(pod("web"))
    cluster.logs["web", "app"] = [[b"x\n", NotFoundError("gone")]]
    result = howbectl("logs web -f")
    assert (result.exit_code, result.stderr) == (1, "Error from server (NotFound): gone\n")


@st.composite
def _cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data(), st.integers(1, 40), st.lists(st.integers(0, 2000), max_size=4))
def test_every_line_comes_once_wherever_the_streams_break(
    data: st.DataObject, count: int, breaks: list[int]
) -> None:
    log = b"".join(_line(second, f"line {second}") for second in range(1, count + 1))
    lines = LogLines(keep_timestamps=False)
    printed: list[bytes] = []
    for end in breaks:
        for chunk in data.draw(_cut(log[:end])):
            printed += lines.feed(chunk)
        lines.resume(START)
    for chunk in data.draw(_cut(log)):
        printed += lines.feed(chunk)
    printed += lines.end()
    assert printed == [f"line {second}\n".encode() for second in range(1, count + 1)]
