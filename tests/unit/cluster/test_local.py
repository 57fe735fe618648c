from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.local.components import components
from cluster.local.layout import REPLICA_IDS, Layout
from cluster.local.runtime_choice import Engine, choose_runtime
from cluster.local.settings import Settings, Wishes, load_settings, resolve, save_settings
from h9s.errors import UsageError

ANSWERS = Engine(version="27.0")
ABSENT = Engine(fault="no Docker Engine runs here")


def settings(**changes: object) -> Settings:
    fields = {"cluster_id": "c", "base_port": 7400, "workers": 2, "runtime": "docker"} | changes
    return Settings(**fields)  # type: ignore[arg-type]


@given(workers=st.integers(1, 50), base_port=st.integers(1024, 64000))
def test_no_two_processes_share_a_port(workers: int, base_port: int):
    layout = Layout(Path("/state"), base_port)
    every = components(layout, settings(workers=workers), programs=Path("/bin"))
    ports = [port for component in every.values() for port in component.ports]
    assert len(ports) == len(set(ports))
    assert min(ports) == base_port


def test_apiservers_start_first():
    names = list(components(Layout(Path("/state")), settings(), programs=Path("/bin")))
    assert names == [*REPLICA_IDS, "scheduler", "controller-manager", "n1", "n2"]


def test_settings_come_back_as_they_were_kept(tmp_path: Path):
    save_settings(settings(example_applied=True), tmp_path)
    assert load_settings(tmp_path) == settings(example_applied=True)


def test_a_new_or_empty_directory_holds_no_settings(tmp_path: Path):
    assert load_settings(tmp_path) is None
    assert load_settings(tmp_path / "new") is None


def test_a_directory_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds no cluster, but it is not empty"):
        load_settings(tmp_path)


@pytest.mark.parametrize("text", ["workers: 2\n", "[", "hello: world\n"])
def test_damaged_settings_are_reported_with_their_file(tmp_path: Path, text: str):
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"cluster\.yaml is damaged"):
        load_settings(tmp_path)


def test_a_first_start_takes_the_defaults():
    resolved = resolve(None, Wishes(), cluster_id="new", runtime="process", running=False)
    assert resolved == Settings(cluster_id="new", base_port=7400, workers=2, runtime="process")


def test_a_resumed_cluster_is_as_it_was():
    before = settings(base_port=9000, workers=4, example_applied=True)
    assert resolve(before, Wishes(), cluster_id="new", runtime="docker", running=True) == before


def test_a_running_cluster_grows_but_neither_moves_nor_shrinks():
    before = settings()
    grown = resolve(before, Wishes(workers=3), cluster_id="", runtime="docker", running=True)
    assert grown.workers == 3
    with pytest.raises(UsageError, match="before it moves"):
        resolve(before, Wishes(base_port=9000), cluster_id="", runtime="docker", running=True)
    with pytest.raises(UsageError, match="before it shrinks"):
        resolve(before, Wishes(workers=1), cluster_id="", runtime="docker", running=True)


def test_a_stopped_cluster_moves_and_shrinks():
    moved = resolve(settings(), Wishes(9000, 1), cluster_id="", runtime="docker", running=False)
    assert (moved.base_port, moved.workers) == (9000, 1)


@pytest.mark.parametrize(
    "wishes", [Wishes(workers=0), Wishes(workers=51), Wishes(base_port=80), Wishes(65500)]
)
def test_impossible_wishes_are_refused(wishes: Wishes):
    with pytest.raises(UsageError, match="is not between"):
        resolve(None, wishes, cluster_id="", runtime="docker", running=False)


@pytest.mark.parametrize(
    ("wish", "previous", "engine", "runtime", "reason"),
    [
        (None, None, ANSWERS, "docker", "Docker Engine 27.0 answers"),
        (None, None, ABSENT, "process", "no Docker Engine runs here"),
        ("auto", "process", ANSWERS, "docker", "Docker Engine 27.0 answers"),
        (None, "process", ANSWERS, "process", "as before"),
        (None, "docker", ABSENT, "process", "no Docker Engine runs here"),
        ("process", "docker", ANSWERS, "process", "as asked for"),
        ("docker", None, ANSWERS, "docker", "as asked for; Docker Engine 27.0"),
    ],
)
def test_the_runtime_is_docker_when_an_engine_answers(
    wish: str | None, previous: str | None, engine: Engine, runtime: str, reason: str
):
    choice = choose_runtime(wish, previous=previous, engine=engine)
    assert (choice.runtime, choice.reason) == (runtime, reason)


def test_a_running_cluster_keeps_its_runtime():
    assert choose_runtime("auto", previous="docker", engine=ABSENT, running=True).runtime == "docker"
    with pytest.raises(UsageError, match="before that changes"):
        choose_runtime("process", previous="docker", engine=ANSWERS, running=True)


def test_docker_without_an_engine_is_an_error():
    with pytest.raises(UsageError, match="--runtime docker: no Docker Engine runs here"):
        choose_runtime("docker", previous=None, engine=ABSENT)
