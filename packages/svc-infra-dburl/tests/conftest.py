"""Fixtures of the tests of svc-infra-dburl: folders for files, and certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy
import trustme
from sqlalchemy import URL, make_url


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and c.crt and c.key of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("client@example.org")
    client.cert_chain_pems[0].write_to_path(folder / "c.crt")
    client.private_key_pem.write_to_path(folder / "c.key")
    return folder


@pytest.fixture(scope="session")
def expected_url() -> Callable[[str], URL]:
    """Parses an expected URL as SQLAlchemy 2.1 does: 2.0 leaves the database percent-encoded."""

    def parse(text: str) -> URL:
        url = make_url(text)
        if sqlalchemy.__version__.startswith("2.0.") and url.database is not None:
            url = url.set(database=unquote(url.database))
        return url

    return parse
