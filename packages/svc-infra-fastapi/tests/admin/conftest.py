"""What the tests of the admin page share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest


async def page_of(
    client: httpx.AsyncClient, path: str, status: int = 200, headers: dict[str, str] | None = None
) -> str:
    answer = await client.get(f"/_admin{path}", headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


@pytest.fixture(name="page_of")
def give_page_of() -> Callable[..., Awaitable[str]]:
    """Get a page, whose status is checked, and return its HTML."""
    return page_of
