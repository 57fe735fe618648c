"""The exchange of a data folder for that of a new cluster can be interrupted at any moment."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

from h9s.apiserver import data_dir
from h9s.apiserver.data_dir import DataIdentity
from h9s.apiserver.recovering import finish_interrupted, recover
from h9s.clock import SystemClock
from h9s.raft.configuration import Life
from h9s.raft.inspection import inspect
from tests.unit.raft.test_inspection import bytes_of, fill

NEW = DataIdentity("c1", "r1", 4711)


class PowerLoss(BaseException):
    pass


def settings_of(folder):
    own = SimpleNamespace(id="r1", api_address="r1:1", peer_address="r1:2")
    return SimpleNamespace(data_dir=folder, replica_id="r1", replicas=[own])


def cut_short(monkeypatch, name, after, act):
    """`act` until Path.`name` is called for the `after`-th time; whether it was."""
    numbers, original = count(1), getattr(Path, name)

    def counting(*arguments):
        if next(numbers) == after:
            raise PowerLoss
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, name, counting)
        try:
            act()
        except PowerLoss:
            return True
    return False


def test_an_interrupted_exchange_is_finished_and_nothing_is_lost(tmp_path, monkeypatch):
    for after in count(1):
        folder = tmp_path / str(after)
        data_dir.initialize(folder, cluster_id="c1", replica_id="r1")
        fill(folder, snapshot_at=3)
        before = sorted(bytes_of(folder / "journal").values())
        report = inspect(folder, cluster_id="c1", replica_id="r1")

        def act(folder=folder, report=report):
            recover(settings_of(folder), report, NEW, clock=SystemClock())

        if not cut_short(monkeypatch, "rename", after, act):
            break
        identity = data_dir.read(folder)
        if identity != NEW:
            assert not finish_interrupted(folder, identity, clock=SystemClock())
            report = inspect(folder, cluster_id="c1", replica_id="r1")
            assert (report.machine.revision, report.faults) == (4, [])
            continue
        again = 1
        while cut_short(
            monkeypatch,
            "rename",
            again,
            lambda folder=folder: finish_interrupted(folder, NEW, clock=SystemClock()),
        ):
            again += 1
        assert not finish_interrupted(folder, NEW, clock=SystemClock())
        report = inspect(folder, cluster_id="c1", replica_id="r1")
        assert (report.machine.revision, report.last, report.faults) == (10**9 + 4, (2, 5), [])
        assert report.configuration is not None
        assert report.configuration.voting_lives == {Life("r1", 4711)}
        assert sorted(path.name for path in folder.iterdir()) == [
            "identity.yaml",
            "journal",
            "set-aside",
            "snapshots",
        ]
        kept = [path.read_bytes() for path in (folder / "set-aside").glob("*/journal/*")]
        assert sorted(kept) == before
    assert after > 3
