"""Carrying Commits out: once, on the newest state, with the truth about what happened."""

import asyncio

import pytest

from h9s._pb import api_pb2, core_pb2, log_pb2
from h9s.api.objects import from_object
from h9s.apiserver.committer import MAX_REQUEST_BYTES
from h9s.client.operations import check, create, delete, update
from h9s.errors import (
    AlreadyExistsError,
    ConflictError,
    InternalError,
    InvalidError,
    NotFoundError,
    NotLeaderError,
    RequestExpiredError,
    TimeoutExpiredError,
    TooLargeError,
    UnavailableError,
)
from h9s.store.model import ALL_KEYS
from h9s.store.protocol import Leadership
from tests.unit.apiserver.support import ADMIN, SCHEDULER, Cluster, copy_of, lease, namespace, pod, virtual

FOLLOWER = Leadership("r1", "follower", "r2", "10.0.0.2:7400", 2, ready=False)


def submit(cluster, request, *, timeout=5.0):
    """Have a request under way; its future resolves to the result or the error."""
    done = asyncio.get_running_loop().create_future()
    cluster.committer.submit(request, ADMIN, timeout=timeout, on_done=done.set_result)
    return done


class TestRetries:
    @virtual
    async def test_a_retried_commit_returns_the_first_result(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        first = await cluster.send(request)
        again = await cluster.send(request)
        assert again.replayed
        assert not first.replayed
        assert (again.revision, list(again.objects)) == (first.revision, list(first.objects))
        assert cluster.store.revision == first.revision

    @virtual
    async def test_even_when_the_object_has_changed_since(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(update(lease(holder="a")))
        await cluster.commit(create(lease()))
        first = await cluster.send(request)
        await cluster.commit(update(lease(holder="b")))
        assert list((await cluster.send(request)).objects) == list(first.objects)
        assert cluster.get(lease()).spec.holder_identity == "b"

    @virtual
    async def test_a_generated_name_is_generated_once(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(*[create(pod("", generate_name="x-")) for _ in range(3)])
        first, again = await cluster.send(request), await cluster.send(request)
        assert list(again.objects) == list(first.objects)
        assert len(cluster.store.view().scan("/core/Pod/")) == 3

    @virtual
    async def test_a_delete_too_tells_what_it_deleted(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(lease()))
        request = cluster.request(delete(lease()))
        first, again = await cluster.send(request), await cluster.send(request)
        assert again.replayed
        assert list(again.objects) == list(first.objects)
        assert from_object(again.objects[0]).metadata.name == "lock"

    @virtual
    async def test_a_failed_precondition_is_remembered(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(pod()))
        cluster.store.hold()
        request = cluster.request(create(pod("new")))
        done = submit(cluster, request)
        taken = log_pb2.Mutation(key="/core/Pod/default/new", value=b"x")
        await cluster.store.apply(log_pb2.Transaction(mutations=[taken]))
        cluster.store.release()
        assert isinstance(await done, AlreadyExistsError)
        gone = log_pb2.Mutation(key="/core/Pod/default/new")
        await cluster.store.apply(log_pb2.Transaction(mutations=[gone]))
        with pytest.raises(AlreadyExistsError):
            await cluster.send(request)
        assert await cluster.commit(create(pod("new")))

    @virtual
    async def test_after_compaction_the_outcome_is_known_but_not_the_objects(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()), create(pod("other")))
        first = await cluster.send(request)
        await cluster.commit(delete(pod()))
        await cluster.store.apply(log_pb2.Transaction(), compact_revision=cluster.store.revision)
        again = await cluster.send(request)
        assert (again.revision, again.replayed) == (first.revision, True)
        assert [found.HasField("value") for found in again.objects] == [False, False]

    @virtual
    async def test_a_retry_that_comes_late_is_answered_from_the_archive(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit_one(create(lease(holder="a")))
        request = cluster.request(create(pod()), update(created), check(lease()))
        first = await cluster.send(request)
        await cluster.commit(delete(pod()), update(lease(holder="b")))
        cluster.store.archive_all()
        again = await cluster.send(request)
        assert again.replayed
        assert list(again.objects) == list(first.objects)
        assert cluster.store.archive is not None
        cluster.store.archive.prune(cluster.store.revision)
        again = await cluster.send(request)
        assert (again.revision, again.replayed) == (first.revision, True)
        assert not any(found.HasField("value") for found in again.objects)

    @virtual
    async def test_the_history_says_who_asked(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(pod()))
        await cluster.commit(create(lease()), caller=SCHEDULER)
        past = await cluster.store.look_back(lambda past: past)
        assert [record.author for record in past.records(ALL_KEYS, after=0)] == [
            "system/h9s-apiserver",
            "admin/root",
            "component/scheduler",
        ]

    @virtual
    async def test_what_was_only_looked_at_is_told_as_it_was(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit_one(create(lease(holder="a")))
        request = cluster.request(update(created), check(lease()), check(pod(), mod_revision=0))
        first = await cluster.send(request)
        assert list((await cluster.send(request)).objects) == list(first.objects)
        await cluster.commit(update(lease(holder="b")), create(pod()))
        again = await cluster.send(request)
        assert list(again.objects) == list(first.objects)
        await cluster.commit(delete(lease()))
        assert list((await cluster.send(request)).objects) == list(first.objects)

    @virtual
    async def test_thousands_of_retries_do_not_go_through_the_history_each(self, monkeypatch):
        cluster = await Cluster.with_default_namespace()
        requests = [cluster.request(create(lease(f"l{i}"))) for i in range(100)]
        requests += [cluster.request(update(lease(f"l{i}", holder="x"))) for i in range(50)]
        requests += [cluster.request(delete(lease(f"l{i}"))) for i in range(50, 100)]
        first = [await cluster.send(request) for request in requests]
        view = cluster.store.view

        def newest(revision=0):
            assert revision == 0, "a retry went back in time"
            return view(revision)

        monkeypatch.setattr(cluster.store, "view", newest)
        again = [await cluster.send(request) for request in requests]
        assert [list(each.objects) for each in again] == [list(each.objects) for each in first]

    @virtual
    async def test_an_attempt_that_is_still_under_way_is_joined(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        cluster.store.hold()
        first, second = submit(cluster, request), submit(cluster, request)
        cluster.store.release()
        assert (await first).revision == (await second).revision == cluster.store.revision

    @virtual
    async def test_a_request_too_old_to_be_remembered_is_refused(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        await asyncio.sleep(601)
        with pytest.raises(RequestExpiredError) as caught:
            await cluster.send(request)
        assert caught.value.server_time_ms == int(cluster.clock.wall() * 1000)
        assert cluster.get(pod()) is None

    @virtual
    async def test_also_where_it_would_have_ended_in_an_error(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(delete(pod()))
        await asyncio.sleep(601)
        with pytest.raises(RequestExpiredError):
            await cluster.send(request)

    @virtual
    async def test_a_request_from_the_future_is_refused(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        request.request_id.issued_at_ms += 120_000
        with pytest.raises(RequestExpiredError):
            await cluster.send(request)

    @virtual
    async def test_the_clock_that_is_told_is_the_one_that_judges(self, monkeypatch):
        cluster = await Cluster.with_default_namespace()
        wall = cluster.clock.wall
        monkeypatch.setattr(cluster.clock, "wall", lambda: wall() + 3600)
        await cluster.store.apply(log_pb2.Transaction())  # by a leader whose clock is an hour ahead
        monkeypatch.undo()
        request = cluster.request(create(pod()))
        with pytest.raises(RequestExpiredError) as caught:
            await cluster.send(request)
        request.request_id.issued_at_ms = caught.value.server_time_ms
        assert not (await cluster.send(request)).replayed

    @virtual
    async def test_an_id_that_is_used_again_for_another_commit_harms_nobody(self):
        cluster = await Cluster.with_default_namespace()
        first = cluster.request(create(pod()))
        await cluster.send(first)
        broken = create(lease())
        broken.object.value = b"\xff"
        first.operations.append(broken)
        with pytest.raises(InvalidError):
            await cluster.send(first)
        await cluster.commit(create(pod("other")))

    @virtual
    async def test_nor_does_one_whose_first_commit_failed(self):
        cluster = await Cluster.with_default_namespace()
        cluster.store.hold()
        request = cluster.request(create(lease()), create(pod()))
        done = submit(cluster, request)
        taken = log_pb2.Mutation(key="/core/Pod/default/web", value=b"x")
        await cluster.store.apply(log_pb2.Transaction(mutations=[taken]))
        cluster.store.release()
        assert isinstance(await done, AlreadyExistsError)
        del request.operations[1]
        with pytest.raises(InternalError):
            await cluster.send(request)
        await cluster.commit(create(lease()))

    @virtual
    async def test_without_an_id_every_attempt_counts(self):
        cluster = await Cluster.with_default_namespace()
        request = api_pb2.CommitRequest(operations=[create(pod())])
        await cluster.send(request)
        with pytest.raises(AlreadyExistsError):
            await cluster.send(request)


class TestDecidingAgain:
    @virtual
    async def test_an_update_is_merged_with_what_came_in_between(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(pod()))
        status = pod()
        status.status.phase = "Running"
        labelled = pod(labels={"a": "b"})
        cluster.store.hold()
        results = [
            submit(cluster, cluster.request(op))
            for op in (
                update(labelled),
                api_pb2.Operation(verb=api_pb2.Operation.UPDATE_STATUS, object=update(status).object),
            )
        ]
        cluster.store.release()
        await asyncio.gather(*results)
        found = cluster.get(pod())
        assert (found.status.phase, found.metadata.labels["a"]) == ("Running", "b")

    @virtual
    async def test_many_writers_of_one_key_all_get_through(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(lease()))
        requests = [cluster.request(update(lease(holder=f"h{i}"))) for i in range(20)]
        results = await asyncio.gather(*(submit(cluster, request) for request in requests))
        revisions = [result.revision for result in results]
        assert sorted(revisions) == list(range(3, 23))

    @virtual
    async def test_of_those_with_the_same_resource_version_one_wins(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit_one(create(lease()))
        requests = []
        for i in range(8):
            created.spec.holder_identity = f"h{i}"
            requests.append(cluster.request(update(created)))
        results = await asyncio.gather(*(submit(cluster, request) for request in requests))
        assert sum(isinstance(result, ConflictError) for result in results) == 7
        assert cluster.store.revision == 3

    @virtual
    async def test_a_namespace_that_goes_meanwhile_takes_the_create_along(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(namespace("team")))
        cluster.store.hold()
        results = [
            submit(cluster, cluster.request(op))
            for op in (delete(core_pb2.Namespace, "team"), create(pod(ns="team")))
        ]
        cluster.store.release()
        _, refused = await asyncio.gather(*results)
        assert "being deleted" in str(refused)
        assert cluster.get(pod(ns="team")) is None


class TestErrors:
    @virtual
    async def test_one_that_rests_on_the_state_is_confirmed_by_the_log_first(self):
        """The pod is under way, created by another attempt: to say that it is missing would be wrong."""
        cluster = await Cluster.with_default_namespace()
        cluster.store.hold()
        made = submit(cluster, cluster.request(create(lease())))
        removed = submit(cluster, cluster.request(delete(lease())))
        await asyncio.sleep(0)
        assert not removed.done()
        cluster.store.release()
        assert not isinstance(await made, Exception)
        assert not isinstance(await removed, Exception)
        assert cluster.get(lease()) is None

    @virtual
    async def test_a_retry_that_would_fail_now_gets_what_the_first_attempt_did(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(lease()))
        request = cluster.request(delete(lease()))
        cluster.store.hold()
        lost = submit(cluster, request, timeout=0.05)
        cluster.store.release()
        await lost
        assert (await cluster.send(request)).replayed

    @virtual
    async def test_an_invalid_object_never_reaches_the_log(self):
        cluster = await Cluster.with_default_namespace()
        cluster.store.hold()
        with pytest.raises(InvalidError):
            await cluster.commit(create(pod("Bad_Name")))

    @virtual
    async def test_it_names_the_operation(self):
        cluster = await Cluster.with_default_namespace()
        with pytest.raises(NotFoundError) as caught:
            await cluster.commit(create(pod()), delete(lease()))
        assert caught.value.operation == 1
        assert cluster.get(pod()) is None

    @virtual
    async def test_a_deadline_leaves_the_fate_open_and_a_retry_settles_it(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        cluster.store.hold()
        with pytest.raises(TimeoutExpiredError, match="fate is open"):
            await cluster.send(request, timeout=0.5)
        retry = submit(cluster, request)
        cluster.store.release()
        assert (await retry).revision == cluster.store.revision

    @virtual
    async def test_a_commit_nobody_waits_for_is_not_decided_again(self):
        cluster = await Cluster.with_default_namespace()
        await cluster.commit(create(lease(holder="a")))
        cluster.store.hold()
        winner = submit(cluster, cluster.request(update(lease(holder="b"))))
        loser = submit(cluster, cluster.request(update(lease(holder="c"))), timeout=0.5)
        assert isinstance(await loser, TimeoutExpiredError)
        cluster.store.release()
        await winner
        await asyncio.sleep(1)
        assert cluster.get(lease()).spec.holder_identity == "b"

    @virtual
    async def test_lost_leadership_leaves_the_fate_open(self):
        cluster = await Cluster.with_default_namespace()
        cluster.store.hold()
        done = submit(cluster, cluster.request(create(pod())))
        cluster.store.fail_pending(UnavailableError("lost the leadership"))
        assert isinstance(await done, UnavailableError)


class TestLeadership:
    @virtual
    async def test_a_follower_says_who_leads(self):
        cluster = await Cluster.with_default_namespace()
        cluster.store.set_leadership(FOLLOWER)
        with pytest.raises(NotLeaderError, match="r2 does") as caught:
            await cluster.commit(create(pod()))
        assert caught.value.leader_address == "10.0.0.2:7400"

    @virtual
    async def test_or_that_nobody_does(self):
        cluster = await Cluster.with_default_namespace()
        cluster.store.set_leadership(FOLLOWER._replace(leader_id="", leader_api_address=""))
        with pytest.raises(NotLeaderError, match="knows of no leader"):
            await cluster.commit(create(pod()))


class TestRequests:
    @virtual
    async def test_what_changes_nothing_makes_no_revision(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit_one(create(pod()))
        before = cluster.store.revision
        response = await cluster.send(cluster.request(update(created), check(created)))
        assert response.revision == before == cluster.store.revision
        assert [found.mod_revision for found in response.objects] == [before, before]

    @virtual
    async def test_several_operations_share_one_revision(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit(create(pod("a")), create(pod("b")), create(lease()))
        assert {each.metadata.resource_version for each in created} == {str(cluster.store.revision)}

    @virtual
    async def test_a_dry_run_decides_and_changes_nothing(self):
        cluster = await Cluster.with_default_namespace()
        before = cluster.store.revision
        response = await cluster.send(cluster.request(create(pod()), dry_run=True))
        tried = from_object(response.objects[0])
        assert isinstance(tried, core_pb2.Pod)
        assert tried.spec.restart_policy == "Always"
        assert cluster.store.revision == before
        with pytest.raises(NotFoundError):
            await cluster.send(cluster.request(delete(pod()), dry_run=True))

    @virtual
    async def test_an_id_has_sixteen_bytes(self):
        cluster = await Cluster.with_default_namespace()
        request = cluster.request(create(pod()))
        request.request_id.nonce = b"short"
        with pytest.raises(InvalidError, match="16 bytes"):
            await cluster.send(request)

    @virtual
    async def test_a_request_above_the_limit_is_refused(self):
        cluster = await Cluster.with_default_namespace()
        large = lease(holder="x" * (MAX_REQUEST_BYTES + 1))
        with pytest.raises(TooLargeError):
            await cluster.commit(create(large))

    @virtual
    async def test_a_copy_of_an_answer_can_be_sent_back(self):
        cluster = await Cluster.with_default_namespace()
        created = await cluster.commit_one(create(lease()))
        updated = await cluster.commit_one(update(copy_of(created)))
        assert updated == created
