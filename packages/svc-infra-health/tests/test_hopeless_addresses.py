"""An address that no waiting makes right ends the wait at once, whatever form it has."""

from __future__ import annotations

import dataclasses
import time

import pytest
from sqlalchemy import URL

from svc_infra.dburl import resolve_url
from svc_infra.health import HealthRegistry, check_database
from svc_infra.health.errors import NotHealthy

UNKNOWN = ["foo://host/db", "oracle://host/db", "mongodb://host/db", "postgresql+foo://host/db", "not a url"]


@pytest.mark.parametrize("address", UNKNOWN)
async def test_an_unknown_dialect_or_driver_ends_the_wait(address: str) -> None:
    """The reason is "configuration", and the message says what is known."""
    await assert_hopeless(address, "configuration")


@pytest.mark.parametrize("name", ["foo", "oracle", "postgresql+foo"])
async def test_a_url_value_of_an_unknown_dialect_ends_the_wait(name: str) -> None:
    """SQLAlchemy's URL takes any name; the check does not."""
    await assert_hopeless(URL.create(name, host="host", database="db"), "configuration")


@pytest.mark.parametrize("name", ["foo", "postgresql+foo"])
async def test_a_resolved_url_of_an_unknown_dialect_ends_the_wait(name: str) -> None:
    """Even one that was put together past the resolution: SQLAlchemy has no such dialect."""
    resolved = dataclasses.replace(resolve_url("sqlite:///x.db"), url=URL.create(name, host="host", database="db"))
    await assert_hopeless(resolved, "driver")


async def assert_hopeless(address: object, reason: str) -> None:
    """Wait for the address and check that it takes no time."""
    async with HealthRegistry() as registry:
        registry.add("database", check_database(address), timeout=30)  # type: ignore[arg-type]
        start = time.monotonic()
        with pytest.raises(NotHealthy, match="waiting can't mend this") as caught:
            await registry.wait_until_healthy(timeout=60, interval=20)
        assert time.monotonic() - start < 15
    assert [result.reason for result in caught.value.report.failing] == [reason]
