"""Microsoft SQL Server, from the environment or a container."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from urllib.parse import unquote, urlsplit

from dbservers.containers import Container, engine_answers
from dbservers.errors import ServerMissing
from dbservers.server import Server, new_name, with_database

__all__ = ["MssqlServer", "open_mssql"]

IMAGE = "mcr.microsoft.com/mssql/server:2022-latest"


class MssqlServer(Server):
    """A server on which every test gets a database of its own, owned by the administrator."""

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = new_name()
        self.execute(f"CREATE DATABASE [{name}]")
        return with_database(self.url, name)

    def drop_database(self, url: str) -> None:
        """Drop the database that *url* names, ending what is still connected to it."""
        name = urlsplit(url).path.lstrip("/")
        self.execute(f"ALTER DATABASE [{name}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [{name}]")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement as administrator and return its rows."""
        return _execute(self.url, statement)


@contextmanager
def open_mssql(environ: Mapping[str, str] = os.environ) -> Iterator[MssqlServer]:
    """Give a server from ``TEST_MSSQL_URL`` or a container; there is none that could be installed by the way."""
    if url := environ.get("TEST_MSSQL_URL"):
        address = re.sub(r"^mssql(\+\w+)?:", "mssql:", url)
        yield MssqlServer(address, _version(address), "environment")
    elif engine_answers():
        password = f"A1a-{secrets.token_hex(8)}"
        with Container(IMAGE, 1433, {"ACCEPT_EULA": "Y", "MSSQL_SA_PASSWORD": password}) as container:
            address = f"mssql://sa:{password}@{container.host}:{container.port}/master?TrustServerCertificate=yes"
            container.wait_until(lambda: _version(address))
            yield MssqlServer(address, _version(address), "container")
    else:
        raise ServerMissing("TEST_MSSQL_URL is not set and no Docker engine answers")


def _execute(url: str, statement: str) -> list[tuple[object, ...]]:
    import mssql_python

    parts = urlsplit(url)
    secret = unquote(parts.password or "").replace("}", "}}")
    connection = mssql_python.connect(
        f"SERVER={parts.hostname},{parts.port or 1433};DATABASE={parts.path.lstrip('/') or 'master'};"
        f"UID={unquote(parts.username or '')};PWD={{{secret}}};Encrypt=yes;TrustServerCertificate=yes",
        autocommit=True,
        timeout=30,
    )
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def _version(url: str) -> str:
    return str(_execute(url, "SELECT CAST(SERVERPROPERTY('ProductVersion') AS varchar(40))")[0][0])
