from __future__ import annotations

from pathlib import Path

import pytest

from h9s._pb import core_pb2
from h9s.api.codec import load_manifests
from h9s.api.defaults import set_defaults
from h9s.api.validation import validate_create

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "cluster" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path):
    objects = load_manifests(path.read_text(), source=str(path))
    assert objects
    for one in objects:
        if not isinstance(one, core_pb2.Namespace):
            one.metadata.namespace = one.metadata.namespace or "default"
        set_defaults(one)
        assert validate_create(one) == []


def test_there_are_enough_examples():
    assert len(EXAMPLES) >= 11
