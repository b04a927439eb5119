"""The OpenAPI documents of two services and what these really do, compared by Schemathesis with all of its checks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import served

from contract import shop
from contract.checking import check_contract
from contract.tables import create_tables
from quickstart.app import create_app as create_quickstart
from quickstart.models import MODELS as QUICKSTART_MODELS

# What is sent follows from it, so that a run of CI can be repeated; give another one to search elsewhere.
SEED = os.environ.get("CONTRACT_SEED", "1")
# Five minutes of a soak run, or four times that, which is for those who change the routes or the document.
LONG_EXAMPLES, LONG_SECONDS = ("400", 7000) if "CONTRACT_LONG" in os.environ else ("100", 2800)


@pytest.fixture
def quickstart_client(postgres_url: str) -> Iterator[httpx.Client]:
    """The quick start's service on PostgreSQL."""
    asyncio.run(create_tables(postgres_url, *QUICKSTART_MODELS))
    with served(create_quickstart(postgres_url)) as client:
        client.post("/airlines", json={"carrier": "UA", "name": "United"}).raise_for_status()
        yield client


@pytest.fixture
def shop_client(postgres_url: str) -> Iterator[httpx.Client]:
    """A service with every action, a column of every type, a tenant and a key of two columns."""
    asyncio.run(create_tables(postgres_url, *shop.MODELS))
    with served(shop.create_app(postgres_url)) as client:
        yield client


@pytest.mark.timeout(300)  # a dozen seconds, on a machine that has nothing else to do
def test_the_quick_start_keeps_to_its_document(quickstart_client: httpx.Client, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, no schema violation, nothing valid refused, nothing invalid accepted."""
    found = check_contract(
        str(quickstart_client.base_url).rstrip("/"), tmp_path, "--max-examples", "5", "--seed", SEED,
        "--include-path-regex", "airlines",
    )  # fmt: skip
    assert found.failures == [], found.output
    assert found.requests > 200


@pytest.mark.timeout(300)
def test_every_action_and_type_keep_to_the_document(shop_client: httpx.Client, tmp_path: Path) -> None:
    """What the quick start has not: versions, tenants, two-column keys, soft delete and every type of column."""
    found = check_contract(
        str(shop_client.base_url).rstrip("/"), tmp_path, "--max-examples", "4", "--seed", SEED,
        "--phases", "examples,fuzzing,stateful",
    )  # fmt: skip
    assert found.failures == [], found.output
    assert found.requests > 50
    assert found.links > 5, found.output


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_ten_thousand_requests_find_nothing(quickstart_client: httpx.Client, tmp_path: Path) -> None:
    """The whole quick start, all phases."""
    found = check_contract(
        str(quickstart_client.base_url).rstrip("/"), tmp_path, "--max-examples", "350", "--seed", SEED, seconds=2800
    )  # fmt: skip
    assert found.failures == [], found.output
    assert found.requests >= 10_000, found.output


@pytest.mark.soak
@pytest.mark.timeout(LONG_SECONDS + 200)
def test_a_long_run_over_every_action_finds_nothing(shop_client: httpx.Client, tmp_path: Path) -> None:
    """All phases over every action and type."""
    found = check_contract(
        str(shop_client.base_url).rstrip("/"),
        tmp_path,
        "--max-examples",
        LONG_EXAMPLES,
        "--seed",
        SEED,
        seconds=LONG_SECONDS,
    )
    assert found.failures == [], found.output
    assert found.requests >= 5_000, found.output
    assert found.links > 5, found.output
