"""A client that openapi-python-client makes from the quick start's document, used against the quick start."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from group_environment import run_in_group

SESSION = Path(__file__).with_name("client_session.py")


@pytest.mark.parametrize("client", ["postgres"], indirect=True)
def test_a_generated_client_works(client: httpx.Client, tmp_path: Path) -> None:
    """Create, read, list, page, change, delete, filter by a date, 304, 404, 409 and 412, by typed calls alone."""
    document, package = tmp_path / "openapi.json", tmp_path / "flights_client"
    document.write_text(client.get("/openapi.json").text)
    arguments = ["--path", document, "--output-path", package, "--meta", "none", "--fail-on-warning"]
    told = run_in_group("client", ["openapi-python-client", "generate", *arguments], folder=tmp_path)
    assert "WARNING" not in told
    run_in_group("client", ["python", SESSION, str(client.base_url).rstrip("/")], folder=tmp_path)
