"""What a howbelet keeps of its pods for a start without the control plane."""

from __future__ import annotations

from h9s.kubelet.checkpoint import Checkpoint
from tests.unit.kubelet.world import make_pod


def test_a_pod_is_kept_with_what_says_whether_it_ever_ran(tmp_path):
    pod = make_pod()
    pod.status.phase = "Running"
    pod.status.start_time.seconds = 5
    pod.status.container_statuses.add(name="main")
    Checkpoint(tmp_path / "pods").save(pod)
    (kept,) = Checkpoint(tmp_path / "pods").load()
    assert (kept.spec, kept.metadata.uid) == (pod.spec, pod.metadata.uid)
    assert (kept.status.phase, kept.status.start_time.seconds) == ("Running", 5)
    assert not kept.status.container_statuses


def test_a_pod_that_has_not_started_is_not_kept_as_one_that_has(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(make_pod())
    (kept,) = checkpoint.load()
    assert not kept.status.HasField("start_time")


def test_a_damaged_file_costs_one_pod_and_a_removed_pod_is_gone(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    for uid in ("a", "b", "c"):
        checkpoint.save(make_pod(uid=uid))
    (tmp_path / "a.pod").write_bytes(b"\xff\xff")
    checkpoint.remove("b")
    checkpoint.remove("b")
    assert [pod.metadata.uid for pod in checkpoint.load()] == ["c"]
