from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.merge import LAST_APPLIED, last_applied, three_way_merge, with_last_applied

Json = dict[str, Any]

_LEAVES = st.one_of(
    st.integers(0, 3), st.sampled_from(["x", "y"]), st.lists(st.integers(0, 2), min_size=1, max_size=2)
)
_MAPS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), _LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), st.one_of(_LEAVES, inner), max_size=3),
    max_leaves=6,
)


@st.composite
def _containers(draw: st.DrawFn) -> list[Json]:
    names = draw(st.lists(st.sampled_from(["n1", "n2", "n3"]), unique=True, max_size=3))
    return [{**draw(_MAPS), "name": name} for name in names]


@st.composite
def documents(draw: st.DrawFn) -> Json:
    document: Json = dict(draw(_MAPS))
    document["containers"] = draw(_containers())
    if draw(st.booleans()):
        document["labels"] = draw(
            st.dictionaries(st.sampled_from("klm"), st.sampled_from(["1", "2"]), max_size=3)
        )
    return document


def _holds(part: Any, whole: Any) -> bool:
    """Whether everything that `part` says is so in `whole`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _holds(part[key], whole[key]) for key in part)
    if isinstance(part, list) and all(isinstance(item, dict) for item in part):
        by_name = {item["name"]: item for item in whole}
        return all(item["name"] in by_name and _holds(item, by_name[item["name"]]) for item in part)
    return bool(part == whole)


@given(documents(), documents(), documents())
def test_the_manifest_has_its_way(original: Json, modified: Json, current: Json) -> None:
    assert _holds(modified, three_way_merge(original, modified, current))


@given(documents(), documents(), documents())
def test_applying_twice_changes_nothing(original: Json, modified: Json, current: Json) -> None:
    once = three_way_merge(original, modified, current)
    assert three_way_merge(modified, modified, once) == once


@given(documents(), documents(), documents())
def test_what_no_manifest_named_stays(original: Json, modified: Json, current: Json) -> None:
    merged = three_way_merge(original, modified, current)
    for key in current.keys() - original.keys() - modified.keys():
        assert merged[key] == current[key]
    named = {item["name"] for item in [*original["containers"], *modified["containers"]]}
    foreign = [item for item in current["containers"] if item["name"] not in named]
    assert [item for item in merged["containers"] if item["name"] not in named] == foreign


@given(documents(), documents(), documents())
def test_what_the_manifest_has_dropped_goes(original: Json, modified: Json, current: Json) -> None:
    merged = three_way_merge(original, modified, current)
    for key in original.keys() - modified.keys() - {"labels"}:
        assert key not in merged
    dropped = {item["name"] for item in original["containers"]} - {
        item["name"] for item in modified["containers"]
    }
    assert not dropped & {item["name"] for item in merged["containers"]}


@given(documents(), documents())
def test_what_is_there_already_keeps_its_order(manifest: Json, extra: Json) -> None:
    merged = three_way_merge({"containers": []}, manifest, extra)
    shared = [item["name"] for item in merged["containers"]]
    wanted = [item["name"] for item in manifest["containers"]]
    assert [name for name in shared if name in wanted] == wanted


@given(documents(), documents(), documents())
def test_the_arguments_are_left_alone(original: Json, modified: Json, current: Json) -> None:
    before = copy.deepcopy((original, modified, current))
    merged = three_way_merge(original, modified, current)
    merged["containers"].append("mine")
    for value in merged.values():
        if isinstance(value, dict):
            value["mine"] = 1
    assert (original, modified, current) == before


@given(documents())
def test_the_last_applied_configuration_is_read_back(manifest: Json) -> None:
    manifest["metadata"] = {"name": "web"}
    carried = with_last_applied(manifest)
    restored = last_applied(carried)
    assert restored["metadata"].pop("annotations") == {}
    assert restored == manifest
    assert with_last_applied(carried) == carried


def test_the_annotation_is_written_as_kubectl_writes_it() -> None:
    manifest = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "default"}}
    text = with_last_applied(manifest)["metadata"]["annotations"][LAST_APPLIED]
    assert text == (
        '{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"web","namespace":"default"}}\n'
    )


def test_an_unreadable_annotation_counts_as_none() -> None:
    for text in ("", "{", "[]", "null"):
        assert last_applied({"metadata": {"annotations": {LAST_APPLIED: text}}}) == {}
    assert last_applied({}) == {}


def _spec(**fields: Any) -> Json:
    return {"spec": fields}


def test_replicas_that_scale_has_set_stay_where_the_manifest_has_none() -> None:
    manifest = _spec(paused=True)
    assert three_way_merge(manifest, manifest, _spec(paused=True, replicas=7)) == _spec(
        paused=True, replicas=7
    )


def test_replicas_of_the_manifest_win_over_scale() -> None:
    manifest = _spec(replicas=3)
    assert three_way_merge(manifest, manifest, _spec(replicas=7)) == manifest


def test_variables_and_ports_are_merged_by_their_keys() -> None:
    live = {
        "env": [{"name": "OTHERS", "value": "1"}, {"name": "MINE", "value": "old"}],
        "ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
    }
    manifest = {"env": [{"name": "MINE", "value": "new"}], "ports": [{"containerPort": 53, "name": "dns"}]}
    assert three_way_merge({}, manifest, live) == {
        "env": [{"name": "OTHERS", "value": "1"}, {"name": "MINE", "value": "new"}],
        "ports": [
            {"containerPort": 53, "protocol": "TCP", "name": "dns"},
            {"containerPort": 53, "protocol": "UDP"},
        ],
    }


def test_other_lists_are_replaced() -> None:
    assert three_way_merge({}, {"args": ["b"]}, {"args": ["a", "c"]}) == {"args": ["b"]}


def test_a_list_whose_items_cannot_be_told_apart_is_replaced() -> None:
    manifest = {"containers": [{"name": "a"}, {"name": "a", "image": "x"}]}
    assert three_way_merge({}, manifest, {"containers": [{"name": "b"}]}) == manifest


def test_labels_of_others_outlive_the_manifests() -> None:
    live = {"labels": {"mine": "1", "theirs": "2"}, "nodeSelector": {"mine": "1", "theirs": "2"}}
    dropped = three_way_merge({"labels": {"mine": "1"}, "nodeSelector": {"mine": "1"}}, {}, live)
    assert dropped == {"labels": {"theirs": "2"}}
    assert three_way_merge({"labels": {"mine": "1"}}, {}, {"labels": {"mine": "1"}}) == {}


def test_finalizers_are_a_set_of_several_owners() -> None:
    live = {"finalizers": ["mine", "theirs"]}
    assert three_way_merge({"finalizers": ["mine"]}, {"finalizers": ["new"]}, live) == {
        "finalizers": ["theirs", "new"]
    }
    assert three_way_merge({"finalizers": ["mine"]}, {}, live) == {"finalizers": ["theirs"]}


def test_another_strategy_leaves_nothing_of_the_first() -> None:
    live = _spec(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}})
    manifest = _spec(strategy={"type": "Recreate"})
    assert three_way_merge({}, manifest, live) == manifest


def test_an_annotation_that_kubectl_wrote_is_understood() -> None:
    text = json.dumps({"spec": {"replicas": 2, "unknownHere": {"a": None}}})
    live = {"metadata": {"annotations": {LAST_APPLIED: text}}, "spec": {"replicas": 2, "paused": True}}
    assert three_way_merge(last_applied(live), {"spec": {}}, live)["spec"] == {"paused": True}
