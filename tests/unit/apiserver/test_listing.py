"""Lists: pages of one picture, tokens that fit only their list."""

import asyncio
import base64

import pytest

from h9s._pb import api_pb2, core_pb2, log_pb2
from h9s.apiserver import listing
from h9s.apiserver.listing import ContinueToken, OldViews, fill_page
from h9s.apiserver.selection import Objects, select
from h9s.client.operations import create, delete, key_of
from h9s.errors import CompactedError, ForbiddenError, HistoryNotHeldError, InvalidError
from h9s.store.model import KeyRange
from h9s.store.sorted_keys import SortedKeys
from tests.unit.apiserver.support import ADMIN, SCHEDULER, Cluster, lease, namespace, pod, virtual


def selection(key=None, *, labels="", fields="", caller=ADMIN):
    return select(key or key_of(core_pb2.Pod), labels=labels, fields=fields, caller=caller, objects=Objects())


async def page(cluster, chosen, *, token="", limit=0):
    revision, after = ContinueToken.decode(token, selection=chosen) if token else (0, "")
    response = api_pb2.ListResponse()
    await fill_page(response, cluster.store.view(revision), chosen, after=after, limit=limit)
    return response


def names(response):
    return [core_pb2.Pod.FromString(found.value.value).metadata.name for found in response.objects]


@virtual
async def test_a_list_has_the_stored_bytes_and_their_revisions():
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(create(pod()))
    (found,) = (await page(cluster, selection())).objects
    stored = cluster.store.view().get("/core/Pod/default/web")
    assert stored is not None
    assert found.value.value == stored.value
    assert found.value.type_url == "type.googleapis.com/h9s.v1.Pod"
    assert (found.create_revision, found.mod_revision) == (2, 2)


@virtual
async def test_pages_show_one_revision_whatever_happens_between_them():
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(*[create(pod(f"p{i}")) for i in range(7)])
    chosen = selection()
    first = await page(cluster, chosen, limit=3)
    await cluster.commit(delete(pod("p4")), create(pod("p3a")), create(pod("a")))
    second = await page(cluster, chosen, token=first.continue_token, limit=3)
    third = await page(cluster, chosen, token=second.continue_token, limit=3)
    assert names(first) + names(second) + names(third) == [f"p{i}" for i in range(7)]
    assert first.revision == second.revision == third.revision
    assert third.continue_token == ""


@virtual
async def test_the_last_full_page_is_the_last():
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(*[create(pod(f"p{i}")) for i in range(4)])
    assert (await page(cluster, selection(), limit=4)).continue_token == ""


@virtual
async def test_a_limit_counts_what_is_selected():
    cluster = await Cluster.with_default_namespace()
    ops = [create(pod(f"p{i:03}", labels={"app": "a" if i % 10 == 0 else "b"})) for i in range(600)]
    await cluster.commit(*ops)
    chosen = selection(labels="app=a")
    first = await page(cluster, chosen, limit=25)
    rest = await page(cluster, chosen, token=first.continue_token)
    assert names(first) + names(rest) == [f"p{i:03}" for i in range(0, 600, 10)]
    assert len(first.objects) == 25


@virtual
async def test_a_page_ends_before_it_is_too_large_to_receive(monkeypatch):
    monkeypatch.setattr(listing, "MAX_PAGE_BYTES", 2000)
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(*[create(pod(f"p{i}", annotations={"a": "x" * 500})) for i in range(8)])
    found, token = [], ""
    while True:
        response = await page(cluster, selection(), token=token)
        assert 0 < len(response.objects) < 8
        found += names(response)
        token = response.continue_token
        if not token:
            break
    assert found == [f"p{i}" for i in range(8)]


@virtual
async def test_a_long_list_lets_others_have_their_turn():
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(*[create(pod(f"p{i}")) for i in range(999)])
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert len((await page(cluster, selection())).objects) == 999
    counting.cancel()
    assert turns >= 4


@virtual
async def test_collections_are_what_their_key_says():
    cluster = await Cluster.with_default_namespace()
    await cluster.commit(create(namespace("other")))
    await cluster.commit(create(pod("a")), create(pod("b", "other")), create(lease()))
    assert names(await page(cluster, selection())) == ["a", "b"]
    assert names(await page(cluster, selection(key_of(core_pb2.Pod, "", "other")))) == ["b"]
    assert len((await page(cluster, selection(api_pb2.ObjectKey()))).objects) == 5


POD_KEYS = KeyRange.under("/core/Pod/")


@virtual
async def test_a_list_in_progress_does_not_go_back_in_time_for_every_page():
    cluster = await Cluster.with_default_namespace()
    views = OldViews(cluster.store)
    old = cluster.store.view()
    views.keep(old, POD_KEYS)
    await cluster.commit(create(pod()))
    assert await views.at(old.revision, POD_KEYS) is old
    newest = await views.at(cluster.store.revision, POD_KEYS)
    assert newest.get("/core/Pod/default/web") is not None
    await asyncio.sleep(60)
    assert await views.at(old.revision, POD_KEYS) is not old
    for _ in range(100):
        await cluster.commit(create(pod("", generate_name="x-")))
        views.keep(cluster.store.view(), POD_KEYS)
    assert len(views._kept) <= 32


@virtual
async def test_a_revision_that_is_in_the_archive_is_read_like_any_other():
    cluster = await Cluster.with_default_namespace()
    for number in range(150):
        await cluster.commit(create(pod(f"p{number:03}")))
    cluster.store.archive_all()
    views = OldViews(cluster.store)
    for number in (0, 60, 149):
        view = await views.at(number + 2, POD_KEYS)
        assert len(view.scan("/core/Pod/default/")) == number + 1
        assert (view.get(f"/core/Pod/default/p{number:03}"), view.get("/core/Pod/default/p150")) != (
            None,
            None,
        )
    await cluster.store.apply(log_pb2.Transaction(), compact_revision=20)
    with pytest.raises(CompactedError, match="starts at 20"):
        await views.at(19, POD_KEYS)
    assert cluster.store.archive is not None
    cluster.store.archive.prune(50)
    with pytest.raises(HistoryNotHeldError, match="starts at revision 50"):
        await views.at(49, POD_KEYS)


@pytest.mark.parametrize(
    "token",
    [
        "%%%",
        "bm9uc2Vuc2U=",
        base64.urlsafe_b64encode(b"0 /core/Pod/default/a").decode(),
        base64.urlsafe_b64encode(b"5 /apps/ReplicaSet/default/a").decode(),
        base64.urlsafe_b64encode(b"5 \xff").decode(),
    ],
)
def test_a_token_that_does_not_fit_is_refused(token):
    with pytest.raises(InvalidError, match="start the list again"):
        ContinueToken.decode(token, selection=selection())


class TestSelections:
    def test_unknown_kinds_are_refused_with_a_suggestion(self):
        with pytest.raises(InvalidError, match="did you mean 'Pod'"):
            selection(api_pb2.ObjectKey(kind="Podd"))

    def test_everything_has_neither_namespace_nor_name(self):
        with pytest.raises(InvalidError, match="every object"):
            selection(api_pb2.ObjectKey(namespace="default"))

    def test_a_cluster_scoped_kind_has_no_namespace(self):
        with pytest.raises(InvalidError, match="no namespace"):
            selection(api_pb2.ObjectKey(kind="Node", namespace="default"))

    @pytest.mark.parametrize("labels", ["a=b=c", "a in", "!"])
    def test_selectors_must_be_understood(self, labels):
        with pytest.raises(InvalidError, match="label selector"):
            selection(labels=labels)

    def test_fields_must_exist(self):
        with pytest.raises(InvalidError, match=r"did you mean 'spec\.nodeName'"):
            selection(fields="spec.nodename=n1")

    def test_secrets_are_for_the_admin(self):
        key = api_pb2.ObjectKey(group="h9s.io", kind="JoinToken")
        assert selection(key).covers("/h9s.io/JoinToken//abc")
        with pytest.raises(ForbiddenError, match="may not read jointokens"):
            selection(key, caller=SCHEDULER)


@virtual
async def test_one_old_object_is_read_without_putting_all_keys_in_order(monkeypatch):
    cluster = await Cluster.with_default_namespace()
    for number in range(150):
        await cluster.commit(create(pod(f"p{number:03}")))
    cluster.store.archive_all()
    monkeypatch.setattr(SortedKeys, "of", lambda *args: pytest.fail("all keys of the group are sorted"))
    key = "/core/Pod/default/p007"
    view = await OldViews(cluster.store).at(20, KeyRange.only(key))
    found = view.get(key)
    assert found is not None
    assert found.mod_revision == 9
