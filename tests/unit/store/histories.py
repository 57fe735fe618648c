"""Made-up histories, and what every archive of them has to tell."""

from __future__ import annotations

from hypothesis import strategies as st

from h9s.store.model import KeyRange, KeyValue
from h9s.store.past import Past
from h9s.store.state_machine import StateMachine
from tests.unit.store.test_state_machine import KEYS, entry, mutations, transaction

#: Some transactions, each with the seconds since the one before.
histories = st.lists(st.tuples(mutations, st.integers(0, 3)), max_size=30)
ranges = st.sampled_from(
    [KeyRange.under("/"), KeyRange.under("/core/Pod/a/"), KeyRange.only(KEYS[0]), KeyRange.only(KEYS[4])]
)


class Told:
    """A machine that was told a history, and how its state was at every revision."""

    def __init__(self, script) -> None:
        self.machine = StateMachine()
        self.states: dict[int, dict[str, KeyValue]] = {0: {}}
        self.records = []
        time_ms = 1_000_000
        for number, (step, seconds) in enumerate(script):
            time_ms += seconds * 1000
            command = transaction(*step)
            command.author = f"admin/{number % 3}"
            self.machine.apply(entry(command, time_ms=time_ms))
            self.states[self.machine.revision] = {kv.key: kv for kv in self.machine.view()}
        self.records = self.machine.history.after(0)

    def release(self, archive, *, archived: int, released: int) -> None:
        """Archive the first revisions, in two steps, and hold some of them in memory no more."""
        archive.append(self.records[: archived // 2])
        archive.append(self.records[archived // 2 : archived])
        self.machine.history.release(min(archived, released))

    def check(self, past: Past, keys: KeyRange, data) -> None:
        """Whatever is read of the past is what a replay to there gives."""
        latest, first = self.machine.revision, self.machine.history.compact_revision
        for revision in range(first, latest + 1):
            view = past.view(revision, keys)
            expected = {key: kv for key, kv in self.states[revision].items() if keys.covers(key)}
            assert {kv.key: kv for kv in view.scan("/") if keys.covers(kv.key)} == expected
            paged: list[KeyValue] = []
            after_key = ""
            while page := view.scan("/", after=after_key, limit=2):
                paged, after_key = paged + page, page[-1].key
            assert [kv.key for kv in paged if keys.covers(kv.key)] == sorted(expected)
            for key in KEYS:
                if keys.covers(key):
                    assert view.get(key) == expected.get(key)
        after, up_to = sorted((data.draw(st.integers(first, latest)), data.draw(st.integers(first, latest))))
        expected_records = []
        for record in self.records[after:up_to]:
            changes = tuple(change for change in record.changes if keys.covers(change.key))
            if changes:
                expected_records.append(record._replace(changes=changes))
        if up_to:
            assert past.records(keys, after=after, up_to=up_to) == expected_records
            newest_first = past.records(keys, after=after, up_to=up_to, newest_first=True)
            assert newest_first == expected_records[::-1]
            limit = data.draw(st.integers(1, 5))
            assert past.records(keys, after=after, up_to=up_to, limit=limit) == expected_records[:limit]
            assert (
                past.records(keys, after=after, up_to=up_to, limit=limit, newest_first=True)
                == newest_first[:limit]
            )
            self._check_differences(past, keys, after, up_to)

    def _check_differences(self, past: Past, keys: KeyRange, after: int, up_to: int) -> None:
        before, behind = self.states[after], self.states[up_to]
        expected = {
            key: (before.get(key), behind.get(key))
            for key in sorted({*before, *behind})
            if keys.covers(key) and _value(before.get(key)) != _value(behind.get(key))
        }
        found = past.differences(keys, after=after, up_to=up_to)
        assert [(key, (each.before, each.after)) for key, each in found.items()] == list(expected.items())
        for key, each in found.items():
            changes = [r for r in self.records[after:up_to] if any(c.key == key for c in r.changes)]
            assert each.revision == changes[-1].revision
            assert past.record(each.revision) == changes[-1]


def _value(item):
    return None if item is None else item.value
