"""Load the fixtures that start real servers, for the tests of every package."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

pytest_plugins = ["dbservers.plugin"]


def pytest_configure() -> None:
    """Collect garbage seldom, and measure no time of Hypothesis' examples."""
    # A full collection walks all that the frameworks hold, which took a fifth of the run.
    gc.set_threshold(10_000, 20, 20)
    # How long an example takes says how busy the machine is.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
