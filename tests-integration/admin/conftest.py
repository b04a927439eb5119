"""A real browser for the tests of the page: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from dbservers.errors import ServerMissing
from dbservers.programs import find_program

# It speaks to the application under test alone, and looks for nothing else on the network.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a module; without one its tests are skipped by name, and fail in CI."""
    try:
        program = find_program("chromium", "google-chrome", package="chromium")
    except ServerMissing as missing:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"no Chromium: {missing}", pytrace=False)
        pytest.skip(f"no Chromium: {missing}")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=list(OPTIONS), timeout=60_000)
        yield found
        await found.close()
