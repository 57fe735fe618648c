import pytest

from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.errors import UsageError
from h9s.kubelet.arguments import Arguments
from h9s.kubelet.drivers import cluster_label, open_runtime

ENGINE = "unix:///var/run/docker.sock"


async def choose(wish, folder, engine):
    prepared = await open_runtime(
        wish,
        node_name="n1",
        cluster="test-choice",
        data_dir=folder,
        engine_address=engine,
        clock=SystemClock(),
    )
    await prepared.runtime.close()
    return prepared


def nobody(folder):
    return f"unix://{folder}/none.sock"


async def test_without_an_engine_pods_are_processes_and_it_says_why(tmp_path):
    prepared = await choose("auto", tmp_path, nobody(tmp_path))
    assert prepared.runtime.name == "process"
    assert "no Docker Engine answers" in prepared.reason
    assert prepared.info.version.startswith("process://")
    assert prepared.info.cpu_millis >= 1000


async def test_an_engine_that_is_asked_for_and_missing_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no Docker Engine answers"):
        await choose("docker", tmp_path, nobody(tmp_path))


@pytest.mark.docker
async def test_an_engine_that_answers_is_used(tmp_path):
    prepared = await choose("auto", tmp_path, ENGINE)
    assert prepared.runtime.name == "docker"
    assert "answers" in prepared.reason


@pytest.mark.docker
async def test_a_node_stays_with_the_runtime_that_has_its_pods(tmp_path):
    await choose("auto", tmp_path, nobody(tmp_path))
    assert (await choose("auto", tmp_path, ENGINE)).runtime.name == "process"
    assert (await choose("docker", tmp_path, ENGINE)).runtime.name == "docker"
    with pytest.raises(UsageError, match="no Docker Engine answers"):
        await choose("auto", tmp_path, nobody(tmp_path))


def arguments(**given):
    fields = dict.fromkeys(Arguments.__dataclass_fields__, "")
    return Arguments(**{**fields, "port": 7460, **given})


def test_the_nodes_address_is_the_one_towards_the_apiservers():
    config = ClientConfig(servers=("127.0.0.1:7400",), ca=b"", certificate=b"", key=b"")
    assert arguments().effective_address(config) == "127.0.0.1"
    assert arguments(address="192.0.2.7").effective_address(config) == "192.0.2.7"


def test_metrics_are_on_the_next_port_of_this_machine_alone():
    assert arguments().effective_metrics_address() == "127.0.0.1:7461"
    assert arguments(metrics_address="0.0.0.0:1").effective_metrics_address() == "0.0.0.0:1"


def test_clusters_are_told_apart_by_their_ca():
    one, other = (ClientConfig(servers=("a:1",), ca=ca, certificate=b"", key=b"") for ca in (b"1", b"2"))
    assert cluster_label(one, "") == cluster_label(one, "")
    assert cluster_label(one, "") != cluster_label(other, "")
    assert cluster_label(one, "mine") == "mine"
