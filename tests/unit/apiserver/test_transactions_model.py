"""Random Commits against a plain model of the rules: all or nothing, no lost update, one writer a part."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h9s.apiserver.transactions import Decision
from h9s.client.operations import check, create, delete, update, update_status
from h9s.errors import AlreadyExistsError, ConflictError, H9sError, NotFoundError
from tests.unit.apiserver.support import World, copy_of, replica_set

NAMES = ("a", "b", "c")


@dataclass
class Entry:
    """What the model knows of one object."""

    replicas: int
    observed: int = 0
    generation: int = 1
    revision: int = 0


@dataclass(frozen=True)
class Step:
    """One operation. `basis`: the resourceVersion sent: none, the current one, or an older one."""

    verb: str
    name: str
    value: int
    basis: str


State = dict[str, Entry]

steps = st.builds(
    Step,
    st.sampled_from(["create", "update", "update", "update_status", "update_status", "delete", "check"]),
    st.sampled_from(NAMES),
    st.integers(0, 2),
    st.sampled_from(["none", "none", "current", "stale"]),
)
commits = st.lists(steps, min_size=1, max_size=4)


def operation(step: Step, state: State) -> Any:
    """The operation as a client would send it that has seen `state`."""
    known = state.get(step.name)
    revision = 0 if known is None else known.revision
    sent = {"none": "", "current": str(revision or 7777), "stale": str(max(1, revision - 1))}[step.basis]
    message = replica_set(step.name, replicas=step.value)
    message.status.replicas = step.value
    if step.verb == "create":
        return create(message)
    if step.verb == "update":
        return update(copy_of(message, resource_version=sent))
    if step.verb == "update_status":
        return update_status(copy_of(message, resource_version=sent))
    target = replica_set(step.name)
    if step.verb == "delete":
        return delete(target, mod_revision=int(sent) if sent else None)
    return check(target, mod_revision=int(sent) if sent else None)


def expected(state: State, commit: list[Step], revision: int) -> State:
    """The state after the commit. Raises what the commit must raise."""
    after = copy.deepcopy(state)
    for step in commit:
        entry = after.get(step.name)
        if step.verb == "create":
            if entry is not None:
                raise AlreadyExistsError("")
            base = state.get(step.name)
            after[step.name] = Entry(step.value, revision=base.revision if base else 0)
            continue
        if entry is None:
            raise ConflictError("") if step.verb == "check" and step.basis != "none" else NotFoundError("")
        before = state.get(step.name)
        if step.basis == "current" and before is None:
            raise ConflictError("")
        if step.basis == "stale" and max(1, entry.revision - 1) != entry.revision:
            raise ConflictError("")
        if step.verb == "update" and entry.replicas != step.value:
            entry.replicas, entry.generation = step.value, entry.generation + 1
        elif step.verb == "update_status":
            entry.observed = step.value
        elif step.verb == "delete":
            del after[step.name]
    for name, entry in after.items():
        if content(entry) != content(state.get(name)) or was_made_anew(name, commit, state):
            entry.revision = revision + 1
    return after


def content(entry: Entry | None) -> tuple[int, int, int] | None:
    return None if entry is None else (entry.replicas, entry.observed, entry.generation)


def was_made_anew(name: str, commit: list[Step], state: State) -> bool:
    verbs = [step.verb for step in commit if step.name == name]
    return name in state and "delete" in verbs and "create" in verbs


def state_of(world: World) -> State:
    found = {name: world.get(replica_set(name)) for name in NAMES}
    return {
        name: Entry(
            each.spec.replicas,
            each.status.replicas,
            each.metadata.generation,
            int(each.metadata.resource_version),
        )
        for name, each in found.items()
        if each is not None
    }


@given(st.lists(commits, max_size=12))
@settings(max_examples=250, deadline=None)
def test_every_commit_does_what_the_rules_say_or_nothing(history):
    world = World()
    state: State = {}
    for commit in history:
        ops = [operation(step, state) for step in commit]
        before = world.revision
        try:
            after = expected(state, commit, world.revision)
        except H9sError as wanted:
            with pytest.raises(type(wanted)):
                world.commit(*ops)
            after = state
        else:
            world.commit(*ops)
        assert state_of(world) == after
        assert world.revision == before + (after != state), commit
        state = after


@given(st.lists(commits, max_size=6), commits, commits)
@settings(max_examples=250, deadline=None)
def test_decisions_on_the_same_state_come_out_as_if_made_one_after_the_other(history, first, second):
    world, serial = World(), World()
    for commit in history:
        state = state_of(world)
        ops = [operation(step, state) for step in commit]
        for each in (world, serial):
            attempt(each, ops)
    seen = state_of(world)
    first_ops, second_ops = ([operation(step, seen) for step in commit] for commit in (first, second))
    decisions = [world.decide(*first_ops), world.decide(*second_ops)]
    for ops, decision in zip((first_ops, second_ops), decisions, strict=True):
        attempt(serial, ops)
        if not isinstance(decision, Decision):
            # Errors are decided again before they are told.
            attempt(world, ops)
            continue
        failure = world.apply(decision.transaction).failure
        if failure is not None and not failure.client:
            attempt(world, ops)
    assert state_of(world) == state_of(serial)


def attempt(world: World, ops: list[Any]) -> None:
    try:
        world.commit(*ops)
    except (AlreadyExistsError, ConflictError, NotFoundError):
        return
