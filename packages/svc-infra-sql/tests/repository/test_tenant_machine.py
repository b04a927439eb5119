"""No tenant sees or touches what is another's, whatever is done in whatever order."""

from __future__ import annotations

import pytest

from .tenant_machine import run, steps


def test_no_tenant_ever_sees_or_touches_what_is_another_s() -> None:
    """Random operations of three tenants over colliding ids and slugs agree with the model after every step."""
    run("sqlite://", steps(5, 25))


def test_no_tenant_ever_sees_or_touches_what_is_another_s_on_a_server(server_url: str) -> None:
    """The same where statements, conflicts and bulk writes take other forms."""
    run(server_url, steps(1, 30))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_tenant_ever_sees_or_touches_what_is_another_s_in_20_000_steps() -> None:
    """The same for 20,000 steps."""
    run("sqlite://", steps(400, 50))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_tenant_ever_sees_or_touches_what_is_another_s_in_5_000_steps_on_a_server(server_url: str) -> None:
    """The same for 5,000 steps on PostgreSQL and on MariaDB."""
    run(server_url, steps(100, 50))


@pytest.fixture(params=["postgres", "mysql"])
def server_url(request: pytest.FixtureRequest) -> str:
    """An empty database on a server of each kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found
