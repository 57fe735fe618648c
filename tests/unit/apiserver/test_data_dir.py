"""One process works on a data folder, and what is replaced is kept."""

from __future__ import annotations

import pytest

from h9s.apiserver import data_dir
from h9s.apiserver.data_dir import DataIdentity
from h9s.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    data_dir.initialize(tmp_path / "data", cluster_id="c1", replica_id="r1")
    return tmp_path / "data"


def test_two_processes_never_work_on_the_same_folder(folder):
    refused = pytest.raises(UsageError, match="in use by another process")
    with data_dir.locked(folder), refused, data_dir.locked(folder):
        pytest.fail("both got it")
    with data_dir.locked(folder):
        pass


def test_a_new_life_is_noted(folder):
    assert data_dir.read(folder) == DataIdentity("c1", "r1", 0)
    data_dir.write(folder, DataIdentity("c1", "r1", 4711))
    assert data_dir.require(folder, cluster_id="c1", replica_id="r1").incarnation == 4711


def test_a_founding_replicas_identity_is_what_the_version_before_expects(folder):
    assert (folder / "identity.yaml").read_text() == "clusterId: c1\nreplicaId: r1\n"


def test_what_is_set_aside_is_all_but_the_identity(folder):
    (folder / "journal").mkdir()
    (folder / "journal" / "a").write_text("1")
    (folder / "snapshots").mkdir()
    first = data_dir.set_aside(folder, name="first")
    assert sorted(path.name for path in folder.iterdir()) == ["identity.yaml", "set-aside"]
    assert (first / "journal" / "a").read_text() == "1"
    (folder / "journal").mkdir()
    data_dir.set_aside(folder, name="second")
    assert sorted(path.name for path in (folder / "set-aside").iterdir()) == ["first", "second"]


@pytest.mark.parametrize("content", ["[]", "x: 1", "clusterId: a\nreplicaId: b\nincarnation: many", ""])
def test_an_identity_that_says_too_little_is_refused(folder, content):
    (folder / "identity.yaml").write_text(content)
    with pytest.raises(UsageError, match="clusterId and replicaId"):
        data_dir.read(folder)


def test_a_replica_that_was_removed_does_not_start_again(folder):
    data_dir.mark_removed(folder)
    with pytest.raises(UsageError, match="was removed from its cluster"):
        data_dir.require(folder, cluster_id="c1", replica_id="r1")
