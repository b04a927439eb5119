"""Load the fixtures that start real servers, for the tests of every package."""

from __future__ import annotations

import gc

pytest_plugins = ["dbservers.plugin"]


def pytest_configure() -> None:
    """Collect garbage seldom: a full collection walks all that the frameworks hold, which took a fifth of the run."""
    gc.set_threshold(10_000, 20, 20)
