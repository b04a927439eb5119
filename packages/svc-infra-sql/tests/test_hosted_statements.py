"""What the repository would send to SQL Server and Snowflake, compiled by their own dialects without a server.

The compliance suite runs the methods where TEST_MSSQL_URL or TEST_SNOWFLAKE_URL names a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest
from sqlalchemy import Executable, Integer, String, UniqueConstraint
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.mixins import SoftDelete, Timestamps, Versioned
from svc_infra.db.sql.repository import SqlRepository


class Parcel(Timestamps, SoftDelete, Versioned, ModelBase):
    """A model with what repositories treat specially."""

    __tablename__ = "hosted_parcels"
    __table_args__ = (UniqueConstraint("email"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40))
    email: Mapped[str] = mapped_column(String(80))


class Sent(Exception):
    """Carries a compiled statement out of the method that would send it."""


class CompilingConnection:
    """Compiles the first statement that it is given, and goes no further: it has no results to give."""

    invalidated = closed = False

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        engine.savepoints = getattr(engine, "savepoints", [])
        self.dialect = engine.dialect
        self.info: dict[str, object] = {}

    def execute(self, statement: Executable, parameters: Any = None, **_: object) -> NoReturn:
        """Compile and raise."""
        first: Any = parameters[0] if isinstance(parameters, list) else parameters or {}
        keys = list(first) if getattr(statement, "is_dml", False) else None
        raise Sent(str(statement.compile(dialect=self.dialect, column_keys=keys)))  # type: ignore[attr-defined]

    def exec_driver_sql(self, statement: str) -> None:
        """Note a statement about savepoints, which is sent as it is."""
        self.engine.savepoints.append(statement)

    def rollback(self) -> None:
        """Go on."""

    def execution_options(self, **_: object) -> CompilingConnection:
        """Go on; the options mean nothing to the text."""
        return self

    scalars = scalar = execute


class CompilingSession(Session):
    """Gives such a connection instead of connecting."""

    def rollback(self) -> None:
        """Go on."""

    def connection(self, *_: object, **__: object) -> Any:
        """Give it."""
        return CompilingConnection(self.get_bind())

    def execute(self, statement: Executable, params: Any = None, **_: object) -> NoReturn:  # type: ignore[override]
        """Compile and raise."""
        CompilingConnection(self.get_bind()).execute(statement, params)


ROW = {"id": 1, "name": "a", "email": "a@example.com"}
Method = Callable[[SqlRepository[Parcel], AsyncSession], Awaitable[object]]


async def stream(repository: SqlRepository[Parcel], session: AsyncSession) -> None:
    async for _ in repository.stream(session):
        pass


METHODS: dict[str, tuple[Method, str]] = {
    "get": (lambda repository, session: repository.get(session, 1), "SELECT"),
    "get for update": (lambda repository, session: repository.get(session, 1, lock="update"), "SELECT"),
    "get_many": (lambda repository, session: repository.get_many(session, [1, 2]), "SELECT"),
    "list": (lambda repository, session: repository.list(session, limit=5, offset=5, order_by=["name"]), "SELECT"),
    "search": (lambda repository, session: repository.search(session, q="a", fields=["name"], limit=5), "SELECT"),
    "list_and_count": (lambda repository, session: repository.list_and_count(session, limit=5), "SELECT"),
    "first": (lambda repository, session: repository.first(session, order_by=["-name"]), "SELECT"),
    "count": (lambda repository, session: repository.count(session), "SELECT"),
    "exists": (lambda repository, session: repository.exists(session, 1), "SELECT"),
    "page": (lambda repository, session: repository.page(session, limit=5, order_by=["name"]), "SELECT"),
    "stream": (stream, "SELECT"),
    "create": (lambda repository, session: repository.create(session, ROW), "INSERT"),
    "create_many": (lambda repository, session: repository.create_many(session, [ROW]), "INSERT"),
    "update": (lambda repository, session: repository.update(session, 1, {"name": "b"}), "UPDATE"),
    "update_many": (lambda repository, session: repository.update_many(session, {"name": "b"}, ids=[1]), "UPDATE"),
    "delete": (lambda repository, session: repository.delete(session, 1), "UPDATE"),
    "delete_many": (lambda repository, session: repository.delete_many(session, ids=[1]), "UPDATE"),
    "restore": (lambda repository, session: repository.restore(session, 1), "UPDATE"),
    "restore_many": (lambda repository, session: repository.restore_many(session, ids=[1]), "UPDATE"),
    "purge": (lambda repository, session: repository.purge(session, 1), "DELETE"),
    "purge_many": (lambda repository, session: repository.purge_many(session, ids=[1]), "DELETE"),
}


URLS = ["mssql://app:secret@127.0.0.1:1/shop", "snowflake://app:secret@org-account/shop/public"]


@pytest.mark.parametrize("url", URLS)
async def test_every_method_of_the_repository_compiles(url: str) -> None:
    """Each method reaches the point where it sends a statement, which the database's own dialect has compiled."""
    needed = "svc_infra.db.sql.dialects.mssql" if url.startswith("mssql") else "snowflake.sqlalchemy"
    pytest.importorskip(needed, exc_type=ImportError)
    repository = SqlRepository(Parcel, soft_delete=True)
    seen: dict[str, str] = {}
    async with Database(url, environ={}) as database:
        streams = database.engine.dialect.supports_server_side_cursors
        for name, (method, _) in METHODS.items():
            if name == "stream" and not streams:
                continue
            session = AsyncSession(database.engine, sync_session_class=CompilingSession)
            with pytest.raises(Sent) as sent:
                async with asyncio.timeout(60):
                    await method(repository, session)
            seen[name] = str(sent.value)
        with pytest.raises(InvalidQuery, match="no INSERT that updates"):
            await repository.upsert(AsyncSession(database.engine, sync_session_class=CompilingSession), ROW)
        savepoints = getattr(database.engine.sync_engine, "savepoints", [])
        if not streams:
            with pytest.raises(InvalidQuery, match="read pages"):
                await stream(repository, AsyncSession(database.engine, sync_session_class=CompilingSession))
    for name, statement in seen.items():
        assert METHODS[name][1] in statement, name
        assert "hosted_parcels" in statement, name
    # Transact-SQL's own words; Snowflake has no savepoints.
    words = {"SAVE TRANSACTION", "ROLLBACK TRANSACTION"} if url.startswith("mssql") else set()
    assert {statement.rpartition(" ")[0] for statement in savepoints} == words
