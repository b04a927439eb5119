"""Unique keys among live rows: a soft-deleted row does not keep its key from the next one."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Column, DateTime, Index, MetaData, String, Table
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import CreateIndex, DropIndex

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.capabilities import capabilities_of
from svc_infra.db.sql.errors import UniqueViolation
from svc_infra.db.sql.live_unique import live_unique
from svc_infra.db.sql.repository import SqlRepository


class Account(ModelBase):
    __tablename__ = "live_accounts"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(String(10))
    email: Mapped[str] = mapped_column(String(40))
    name: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    __table_args__ = (live_unique("tenant_id", "email"),)


class Switch(ModelBase):
    __tablename__ = "live_switches"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slot: Mapped[int]
    active: Mapped[bool] = mapped_column(default=True)
    __table_args__ = (live_unique("slot", deleted_field=None, flag_field="active"),)


TABLES = [Account.__table__, Switch.__table__]
accounts = SqlRepository(Account, soft_delete=True).scoped({"tenant_id": "a"})
switches = SqlRepository(Switch, soft_delete=True, soft_delete_flag_field="active")


def is_strict(session: AsyncSession) -> bool:
    """Whether the database has no such key, and deleted rows keep theirs."""
    return capabilities_of(session.get_bind().dialect.name).live_unique == "every row"


async def test_a_deleted_row_frees_its_key_and_a_live_one_keeps_it(session: AsyncSession) -> None:
    """One live row for each key, however many deleted ones; the error names the fields."""
    await accounts.create(session, {"id": 1, "email": "e"})
    with pytest.raises(UniqueViolation) as caught:
        await accounts.create(session, {"id": 2, "email": "e"})
    # Of a violated index DuckDB tells neither the name nor the columns.
    assert caught.value.columns == (() if is_strict(session) else ("tenant_id", "email"))


async def test_a_key_can_be_taken_again_after_each_delete(session: AsyncSession) -> None:
    """Deleted rows with the same key pile up; another tenant's key is another key."""
    if is_strict(session):
        pytest.skip("DuckDB has neither partial indexes nor indexes of generated columns; see Capabilities.live_unique")
    other = SqlRepository(Account, soft_delete=True).scoped({"tenant_id": "b"})
    await other.create(session, {"id": 9, "email": "e"})
    for key in (1, 2, 3):
        await accounts.create(session, {"id": key, "email": "e"})
        await accounts.delete(session, key)
    assert await accounts.count(session, deleted="only") == 3
    await switches.create_many(session, [{"id": 1, "slot": 1}, {"id": 2, "slot": 2}])
    await switches.delete(session, 1)
    assert (await switches.create(session, {"id": 3, "slot": 1})).active is True


async def test_a_row_whose_key_was_taken_since_can_t_be_restored(session: AsyncSession) -> None:
    """The error is typed, names the fields, and for many rows nothing is restored."""
    if is_strict(session):
        pytest.skip("DuckDB has neither partial indexes nor indexes of generated columns; see Capabilities.live_unique")
    await accounts.create(session, {"id": 1, "email": "e"})
    await accounts.delete(session, 1)
    await accounts.create(session, {"id": 2, "email": "e"})
    for attempt in (lambda: accounts.restore(session, 1), lambda: accounts.restore_many(session, where=[])):
        with pytest.raises(UniqueViolation) as caught:
            async with session.begin_nested():
                await attempt()
        assert caught.value.columns == ("tenant_id", "email")
    assert await accounts.count(session, deleted="only") == 1
    await accounts.delete(session, 2)
    assert (await accounts.restore(session, 1)) is not None


async def test_an_upsert_by_the_key_updates_the_live_row(session: AsyncSession) -> None:
    """A deleted row with the same key is no conflict and stays as it is."""
    if not is_strict(session):
        await accounts.create(session, {"id": 1, "email": "e", "name": "old"})
        await accounts.delete(session, 1)
    await accounts.upsert(session, {"id": 2, "email": "e", "name": "first"}, on="email")
    again = await accounts.upsert(session, {"id": 3, "email": "e", "name": "second"}, on="email")
    assert (again.id, again.name) == (2, "second")
    assert [row.id for row in await accounts.list(session, limit=9)] == [2]


def test_each_database_gets_the_key_in_its_own_form() -> None:
    """A partial index where there is one, a generated column on MySQL and MariaDB; other indexes stay as they are."""
    index = live_unique("tenant_id", "email", name="uq_e")
    table = Table("t", MetaData(), Column("tenant_id", String(9)), Column("email", String(9)), Column("deleted_at"))
    table.append_constraint(index)
    plain = Index("ix_plain", table.c.email)
    for dialect in (postgresql.dialect(), sqlite.dialect(), mssql.dialect()):
        made = str(CreateIndex(index).compile(dialect=dialect))
        assert made == "CREATE UNIQUE INDEX uq_e ON t (tenant_id, email) WHERE deleted_at IS NULL"
    my = mysql.dialect()
    assert str(CreateIndex(index).compile(dialect=my)) == (
        "ALTER TABLE t ADD COLUMN uq_e_live TINYINT GENERATED ALWAYS AS (IF(deleted_at IS NULL, 1, NULL)) VIRTUAL "
        "INVISIBLE, ADD UNIQUE INDEX uq_e (tenant_id, email, uq_e_live)"
    )
    assert str(DropIndex(index).compile(dialect=my)) == "ALTER TABLE t DROP INDEX uq_e, DROP COLUMN uq_e_live"
    assert str(CreateIndex(plain).compile(dialect=my)) == "CREATE INDEX ix_plain ON t (email)"
    assert str(DropIndex(plain).compile(dialect=my)).strip() == "DROP INDEX ix_plain ON t"


def test_a_key_without_columns_or_without_a_sign_of_live_rows_is_refused() -> None:
    """It would mean nothing."""
    with pytest.raises(ValueError, match="column"):
        live_unique()
    with pytest.raises(ValueError, match="live rows"):
        live_unique("email", deleted_field=None)
