"""Label selectors select what kubectl's would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import meta_pb2
from h9s.api.labels import Operator, Requirement, Selector
from h9s.errors import InvalidError

LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier != back", True),
        ("app=db", False),
        ("app!=web", False),
        ("absent!=x", True),
        ("absent=", False),
        ("empty=", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("absent notin (db)", True),
        ("app notin (web)", False),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("! app", False),
        ("app=web,!tier", False),
        ("empty in ()", True),
        ("example.com/app!=web", True),
    ],
)
def test_a_selector_matches_as_it_says(text, matches):
    assert Selector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a=b,", "cannot understand ''"),
        ("a b", "cannot understand 'a b'"),
        ("x,a in b", "cannot understand 'a in b'"),
        ("a=b=c", "cannot understand 'a=b=c'"),
        ("=b", "cannot understand '=b'"),
        ("a in (b", "cannot understand 'a in (b'"),
        ("a=-x", "'-x' is not a valid label value"),
        ("a/b/c", "'a/b/c' is not a valid key"),
    ],
)
def test_a_selector_that_cannot_be_understood_says_where(text, place):
    with pytest.raises(InvalidError) as failure:
        Selector.parse(text)
    assert place in failure.value.message
    assert repr(text) in failure.value.message


keys = st.sampled_from(["a", "b", "example.com/c", "in", "notin"])
label_values = st.sampled_from(["", "x", "y", "Z_1.2"])
one_value = label_values.map(lambda value: (value,))
some_values = st.lists(label_values, min_size=1, unique=True).map(lambda found: tuple(sorted(found)))
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from([Operator.IN, Operator.NOT_IN]), one_value | some_values),
    st.builds(Requirement, keys, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)
selectors = st.lists(requirements, max_size=4).map(lambda found: Selector(tuple(found)))
label_maps = st.dictionaries(keys, label_values)


@given(selectors)
def test_a_selector_reads_back_from_its_own_text(selector):
    assert Selector.parse(str(selector)) == selector


@given(selectors, label_maps)
def test_a_selector_is_the_conjunction_of_its_requirements(selector, labels):
    def holds(requirement):
        value = labels.get(requirement.key)
        match requirement.operator:
            case Operator.IN:
                return value in requirement.values
            case Operator.NOT_IN:
                return value not in requirement.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None

    assert selector.matches(labels) is all(map(holds, selector.requirements))


@given(label_maps, label_maps)
def test_match_labels_select_what_has_them_all(wanted, labels):
    selector = Selector.from_label_selector(meta_pb2.LabelSelector(match_labels=wanted))
    assert selector.matches(labels) is (wanted.items() <= labels.items())


def test_match_expressions_are_requirements():
    selector = Selector.from_label_selector(
        meta_pb2.LabelSelector(
            match_labels={"app": "web"},
            match_expressions=[
                meta_pb2.LabelSelectorRequirement(
                    key="tier", operator="In", values=["front", "back", "back"]
                ),
                meta_pb2.LabelSelectorRequirement(key="old", operator="DoesNotExist"),
            ],
        )
    )
    assert str(selector) == "app=web,tier in (back,front),!old"


@pytest.mark.parametrize(
    ("operator", "values", "message"),
    [
        ("Like", ["x"], "'Like' is none of In, NotIn, Exists, DoesNotExist"),
        ("In", [], "In takes values"),
        ("Exists", ["x"], "Exists takes no values"),
    ],
)
def test_a_wrong_match_expression_is_refused(operator, values, message):
    expression = meta_pb2.LabelSelectorRequirement(key="a", operator=operator, values=values)
    with pytest.raises(InvalidError, match=message):
        Selector.from_label_selector(meta_pb2.LabelSelector(match_expressions=[expression]))
