"""The configuration file and the data folder's identity."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from h9s.apiserver import data_dir
from h9s.apiserver.settings import Settings, Timings
from h9s.errors import UsageError
from h9s.raft.archiving import HistorySettings

GOOD: dict[str, Any] = {
    "clusterId": "c1",
    "replicaId": "r1",
    "dataDir": "data",
    "apiAddress": "127.0.0.1:7400",
    "peerAddress": "127.0.0.1:7401",
    "metricsAddress": "127.0.0.1:7402",
    "joinAddress": "127.0.0.1:7403",
    "replicas": [
        {"id": "r1", "apiAddress": "127.0.0.1:7400", "peerAddress": "127.0.0.1:7401"},
        {
            "id": "r2",
            "apiAddress": "127.0.0.1:7410",
            "peerAddress": "127.0.0.1:7411",
            "joinAddress": "127.0.0.1:7413",
        },
    ],
    "pki": {"ca": "ca.crt", "caKey": "ca.key", "certificate": "/etc/r1.crt", "key": "r1.key"},
}


def load(tmp_path, document):
    path = tmp_path / "apiserver.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return Settings.load(path)


def changed(**fields):
    return {**copy.deepcopy(GOOD), **fields}


def test_a_whole_file_is_understood(tmp_path):
    settings = load(tmp_path, changed(timings={"electionTimeoutMs": [200, 400], "nodeGracePeriodMs": 9000}))
    assert (settings.cluster_id, settings.replica_id) == ("c1", "r1")
    assert settings.data_dir == tmp_path / "data"
    assert settings.pki.certificate == Path("/etc/r1.crt")
    assert settings.replicas[1].join_address == "127.0.0.1:7413"
    assert settings.timings == Timings(election_timeout_ms=(200, 400), node_grace_period_ms=9000)


def test_what_is_optional_may_be_missing(tmp_path):
    document = {k: v for k, v in GOOD.items() if k not in ("metricsAddress", "joinAddress")}
    settings = load(tmp_path, document)
    assert (settings.metrics_address, settings.join_address, settings.timings) == ("", "", Timings())


def test_how_much_history_is_kept_can_be_chosen(tmp_path):
    history = load(tmp_path, changed(historyMaxBytes=1000, historyMaxAgeSeconds=60)).history
    assert (history.max_bytes, history.max_age) == (1000, 60.0)
    assert load(tmp_path, GOOD).history == HistorySettings()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed(clusterId=None), "clusterId: is missing"),
        (changed(clusterId=7), "clusterId: expected text, found int"),
        (changed(apiAddress="localhost"), "apiAddress: 'localhost' is not of the form host:port"),
        (changed(apiAdress="x:1"), r"apiAdress: unknown field, did you mean 'apiAddress'\?"),
        (changed(replicas=[]), "replicaId: 'r1' is not among replicas: none"),
        (changed(replicas={}), "replicas: expected a list, found dict"),
        (changed(replicas=["r1"]), r"replicas\[0\]: expected a mapping, found str"),
        (changed(replicas=[*GOOD["replicas"], GOOD["replicas"][0]]), "an id is given twice"),
        (changed(replicaId="r9"), "replicaId: 'r9' is not among replicas: r1, r2"),
        (changed(pki={"ca": "x"}), r"pki\.caKey: is missing"),
        (changed(historyMaxAgeSeconds=0), "historyMaxAgeSeconds: expected a positive number of seconds"),
        (changed(historyMaxBytes="1G"), "historyMaxBytes: expected a number of bytes"),
        (changed(timings={"heartbeatMs": 0}), r"timings\.heartbeatMs: expected a positive number"),
        (changed(timings={"heartbeatMs": True}), r"timings\.heartbeatMs: expected a positive number"),
        (changed(timings={"electionTimeoutMs": [300, 150]}), "the shortest, 300, is above the longest, 150"),
        (changed(timings={"electionTimeoutMs": 300}), "expected two numbers"),
        (changed(timings={"hearbeatMs": 40}), "did you mean 'heartbeatMs'"),
        ("just text", "expected a mapping, found str"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path, document, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(tmp_path, document)
    assert "apiserver.yaml" in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.yaml"):
        Settings.load(tmp_path / "nowhere.yaml")


class TestDataDir:
    def test_a_folder_is_initialized_once(self, tmp_path):
        folder = tmp_path / "new" / "data"
        data_dir.initialize(folder, cluster_id="c1", replica_id="r1")
        data_dir.require(folder, cluster_id="c1", replica_id="r1")
        with pytest.raises(UsageError, match="initialized already"):
            data_dir.initialize(folder, cluster_id="c1", replica_id="r1")

    def test_a_replica_does_not_start_without_its_data(self, tmp_path):
        with pytest.raises(UsageError, match="howbe-apiserver init"):
            data_dir.require(tmp_path, cluster_id="c1", replica_id="r1")

    @pytest.mark.parametrize(("cluster_id", "replica_id"), [("c2", "r1"), ("c1", "r2")])
    def test_nor_with_anothers(self, tmp_path, cluster_id, replica_id):
        data_dir.initialize(tmp_path / "d", cluster_id="c1", replica_id="r1")
        with pytest.raises(UsageError, match="another's data"):
            data_dir.require(tmp_path / "d", cluster_id=cluster_id, replica_id=replica_id)

    def test_a_folder_with_something_else_in_it_is_left_alone(self, tmp_path):
        (tmp_path / "precious").write_text("x")
        with pytest.raises(UsageError, match="not empty"):
            data_dir.initialize(tmp_path, cluster_id="c1", replica_id="r1")
        assert [path.name for path in tmp_path.iterdir()] == ["precious"]

    def test_a_broken_identity_is_refused(self, tmp_path):
        (tmp_path / "identity.yaml").write_text("a: [")
        with pytest.raises(UsageError, match="cannot read"):
            data_dir.require(tmp_path, cluster_id="c1", replica_id="r1")
