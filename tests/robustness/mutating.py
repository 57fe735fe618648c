"""A plugin for pytest: runs tests with the repair taken away that H9S_MUTATION names."""

from __future__ import annotations

import os

import pytest

from tests.robustness.every_mutation import MUTATIONS


def pytest_configure(config: pytest.Config) -> None:
    """Apply the patch for the whole run."""
    (one,) = [one for one in MUTATIONS if one.name == os.environ["H9S_MUTATION"]]
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    one.patch(patch)
