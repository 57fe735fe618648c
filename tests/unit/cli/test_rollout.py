from __future__ import annotations

import pytest

from h9s._pb import apps_pb2
from h9s.cli import rollouts
from h9s.cli.session import CommandError
from tests.unit.cli.conftest import Howbectl
from tests.unit.cli.fake_cluster import START, FakeCluster
from tests.unit.cli.objects import deployment, replica_set


def _rolling(*, updated: int, total: int, available: int) -> apps_pb2.Deployment:
    result = deployment(replicas=3)
    result.status.updated_replicas, result.status.replicas = updated, total
    result.status.available_replicas = available
    return result


@pytest.mark.parametrize(
    ("updated", "total", "available", "message"),
    [
        (
            1,
            4,
            3,
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
        ),
        (
            3,
            4,
            3,
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
        ),
        (3, 3, 2, 'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...'),
    ],
)
def test_what_a_rollout_waits_for(updated: int, total: int, available: int, message: str) -> None:
    progress = rollouts.progress(_rolling(updated=updated, total=total, available=available))
    assert progress == rollouts.Progress(message, done=False)


def test_a_status_of_an_older_spec_says_nothing() -> None:
    stale = deployment()
    stale.metadata.generation = 2
    assert not rollouts.progress(stale).done


def test_a_rollout_that_has_exceeded_its_deadline_has_failed() -> None:
    stuck = _rolling(updated=1, total=4, available=3)
    stuck.status.conditions.add(type="Progressing", status="False", reason="ProgressDeadlineExceeded")
    with pytest.raises(CommandError, match="exceeded its progress deadline"):
        rollouts.progress(stuck)


def test_status_follows_until_it_is_done(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(_rolling(updated=1, total=4, available=3))
    cluster.while_watched(
        lambda: cluster.put(_rolling(updated=3, total=3, available=2)),
        lambda: cluster.put(_rolling(updated=3, total=3, available=2)),
        lambda: cluster.put(deployment()),
    )
    result = howbectl("rollout status deploy/web")
    assert result.exit_code == 0
    assert [line.rpartition(": ")[2] for line in result.lines] == [
        "1 out of 3 new replicas have been updated...",
        "2 of 3 updated replicas are available...",
        'deployment "web" successfully rolled out',
    ]


def test_status_without_waiting(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(_rolling(updated=1, total=4, available=3))
    result = howbectl("rollout status deploy web --watch=false")
    assert (result.exit_code, len(result.lines)) == (0, 1)


def test_status_gives_up_after_its_timeout(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(_rolling(updated=1, total=4, available=3))
    result = howbectl("rollout status deploy web --timeout=20ms")
    assert result.exit_code == 1
    assert result.stderr == 'error: timed out waiting for the rollout of deployment "web"\n'


def test_a_deployment_deleted_under_the_eyes_is_an_error(cluster: FakeCluster, howbectl: Howbectl) -> None:
    rolling = _rolling(updated=1, total=4, available=3)
    cluster.put(rolling)
    cluster.while_watched(lambda: cluster.remove(rolling))
    assert "(NotFound)" in howbectl("rollout status deploy web").stderr


@pytest.fixture
def three_revisions(cluster: FakeCluster) -> apps_pb2.Deployment:
    web = deployment(image="web:3")
    cluster.put(web)
    for revision in (1, 2, 3):
        each = replica_set(
            web, revision=revision, image=f"web:{revision}", replicas=3 if revision == 3 else 0
        )
        if revision == 2:
            each.metadata.annotations["kubernetes.io/change-cause"] = "the second try"
        cluster.put(each)
    stranger = replica_set(deployment("other"), revision=9)
    stranger.metadata.labels["app"] = "web"
    cluster.put(stranger)
    return web


@pytest.mark.usefixtures("three_revisions")
def test_history_lists_the_deployments_own_revisions(howbectl: Howbectl) -> None:
    assert howbectl("rollout history deploy/web").lines == [
        "deployment.apps/web",
        "REVISION   CHANGE-CAUSE",
        "1          <none>",
        "2          the second try",
        "3          <none>",
    ]
    assert "web:2" in howbectl("rollout history deploy/web --revision=2").stdout
    assert (
        "has no revision 7; there are: 1, 2, 3" in howbectl("rollout history deploy/web --revision=7").stderr
    )


@pytest.mark.usefixtures("three_revisions")
@pytest.mark.parametrize(("option", "image"), [("", "web:2"), ("--to-revision=1", "web:1")])
def test_undo_brings_an_earlier_template_back(
    cluster: FakeCluster, howbectl: Howbectl, option: str, image: str
) -> None:
    assert howbectl(f"rollout undo deploy/web {option}").stdout == "deployment.apps/web rolled back\n"
    template = cluster.stored(apps_pb2.Deployment, "web").spec.template
    assert template.spec.containers[0].image == image
    assert dict(template.metadata.labels) == {"app": "web"}


@pytest.mark.usefixtures("three_revisions")
def test_undo_to_what_it_is_already_changes_nothing(cluster: FakeCluster, howbectl: Howbectl) -> None:
    revision = cluster.objects.revision
    result = howbectl("rollout undo deploy/web --to-revision=3")
    assert "skipped rollback" in result.stdout
    assert cluster.objects.revision == revision


def test_undo_without_history_is_an_error(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment())
    result = howbectl("rollout undo deploy/web")
    assert result.stderr == 'error: deployment "web" has no earlier revision to go back to\n'


def test_restart_changes_the_template(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment())
    assert howbectl("rollout restart deploy/web").stdout == "deployment.apps/web restarted\n"
    annotations = cluster.stored(apps_pb2.Deployment, "web").spec.template.metadata.annotations
    assert annotations["kubectl.kubernetes.io/restartedAt"] == "2023-11-14T22:13:20Z"
    assert START == 1_700_000_000
    assert "within this very second" in howbectl("rollout restart deploy/web").stderr


def test_pause_and_resume(cluster: FakeCluster, howbectl: Howbectl) -> None:
    cluster.put(deployment())
    assert howbectl("rollout pause deploy/web").stdout == "deployment.apps/web paused\n"
    assert cluster.stored(apps_pb2.Deployment, "web").spec.paused
    assert "already paused" in howbectl("rollout pause deploy/web").stderr
    assert "is paused" in howbectl("rollout restart deploy/web").stderr
    assert howbectl("rollout resume deploy/web").stdout == "deployment.apps/web resumed\n"
    assert "not paused" in howbectl("rollout resume deploy/web").stderr
