"""Changes of many rows, each by values of its own, in a few statements."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from sqlalchemy import JSON, DateTime, String
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, SqlError, StaleVersion, UnknownField
from svc_infra.db.sql.repository import SqlRepository


class Crate(ModelBase):
    __tablename__ = "changes_crates"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant: Mapped[int] = mapped_column(default=0)
    code: Mapped[str] = mapped_column(String(30), unique=True)
    label: Mapped[str | None] = mapped_column(String(30))
    weight: Mapped[float | None]
    extra: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    touched: Mapped[str | None] = mapped_column(String(10), onupdate="yes")
    version: Mapped[int] = mapped_column(default=1)
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


class Cell(ModelBase):
    __tablename__ = "changes_cells"
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[str] = mapped_column(String(5), primary_key=True)
    value: Mapped[int]


TABLES = [Crate.__table__, Cell.__table__]
crates = SqlRepository(Crate, soft_delete=True, version_field="version")
cells = SqlRepository(Cell)


async def filled(session: AsyncSession, number: int = 5) -> None:
    """Crates 1 to *number*; those that divide by 5 are soft-deleted."""
    await crates.create_many(session, [{"id": n, "code": f"c{n}", "label": "old"} for n in range(1, number + 1)])
    await crates.delete_many(session, ids=range(5, number + 1, 5))


async def test_each_row_gets_its_own_values(session: AsyncSession) -> None:
    """Objects and rows come back in the order of the changes, None for a row that is not there or deleted."""
    await filled(session)
    held = await crates.get_one(session, 3)
    changes = [
        Change(3, {"label": "three", "weight": 1.5, "extra": {"a": [1, None]}}),
        Change(99, {"label": "nobody"}),
        Change(1, {"label": None, "weight": None, "extra": None}),
        Change(5, {"label": "deleted"}),
        Change(4, {"label": "four", "weight": 2.25, "extra": "text"}),
        Change(2, {}),
    ]
    three, nobody, one, deleted, four, two = await crates.update_each(session, changes)
    assert three is held
    assert nobody is deleted is None
    assert one is not None
    assert two is not None
    assert four is not None
    assert (held.label, held.weight, held.extra, held.touched, held.version) == (
        "three",
        1.5,
        {"a": [1, None]},
        "yes",
        2,
    )
    assert (one.label, one.weight, one.extra, one.version) == (None, None, None, 2)
    assert (four.label, four.weight, four.extra) == ("four", 2.25, "text")
    assert (two.label, two.version, two.touched) == ("old", 1, None)
    rows = await crates.rows_of("label").update_each(session, [Change(2, {"label": "b"}), Change(1, {"label": "a"})])
    assert [tuple(row) for row in rows if row is not None] == [("b",), ("a",)]
    assert await crates.update_each(session, []) == []


async def test_a_hundred_rows_take_two_statements_or_three(session: AsyncSession, statements: Any) -> None:
    """One that locks, one that writes, and one that reads where the UPDATE can't return its rows."""
    await filled(session, 100)
    session.expunge_all()
    statements.taken()
    changes = [Change(n, {"label": f"l{n}", "weight": n / 2}, 1) for n in range(1, 100) if n % 5]
    found = await crates.rows.update_each(session, changes)
    assert [(row.id, row.label, row.weight, row.version) for row in found if row is not None] == [
        (n, f"l{n}", n / 2, 2) for n in range(1, 100) if n % 5
    ]
    sent = [each for each in statements.taken() if "SAVEPOINT" not in each]
    assert len(sent) == (3 if session.get_bind().dialect.name == "mysql" else 2), sent


async def test_more_rows_than_a_statement_takes_are_several(session: AsyncSession, statements: Any) -> None:
    """Every row is written all the same, of whichever fields."""
    await filled(session, 500)
    statements.taken()
    changes = [Change(n, {"label": f"l{n}"} if n % 2 else {"weight": float(n)}) for n in range(1, 500) if n % 5]
    found = await crates.rows.update_each(session, changes)
    assert [row.label if row.id % 2 else row.weight for row in found if row is not None] == [
        f"l{n}" if n % 2 else float(n) for n in range(1, 500) if n % 5
    ]
    assert len(statements.taken()) <= 14


async def test_an_old_version_undoes_all(database: Database) -> None:
    """It is named by its place, and no other row is changed."""
    async with database.session() as session:
        await filled(session)
        changes = [Change(1, {"label": "a"}, 1), Change(2, {"label": "b"}, 7), Change(3, {"label": "c"})]
        with pytest.raises(StaleVersion) as caught:
            await crates.update_each(session, changes)
        assert caught.value.row == 1
        # DuckDB has no savepoints, so that all is undone.
        labels = {row.label for row in await crates.rows.list(session, limit=10)}
        assert labels == (set() if database.engine.dialect.name == "duckdb" else {"old"})
        await session.rollback()


REFUSED: dict[str, tuple[list[Change], type[SqlError], int]] = {
    "a taken key": ([Change(1, {"code": "x"}), Change(2, {"code": "c3"})], IntegrityViolation, 1),
    "a bad value": ([Change(1, {"label": "x"}), Change(2, {"label": 5})], InvalidValue, 1),
    "an unknown field": ([Change(1, {"label": "x"}), Change(2, {"lable": "y"})], UnknownField, 1),
    "a row twice": ([Change(1, {"label": "x"}), Change(1, {"label": "y"})], InvalidQuery, 1),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_refused_change_is_named_and_undoes_all(session: AsyncSession, reason: str) -> None:
    """By its index; where there are no savepoints, a taken key has none."""
    changes, error, place = REFUSED[reason]
    await filled(session)
    with pytest.raises(error) as caught:
        await crates.update_each(session, changes)
    if session.get_bind().dialect.name == "duckdb" and reason == "a taken key":
        return
    assert caught.value.row == place
    assert {row.label for row in await crates.rows.list(session, limit=10)} == {"old"}


async def test_values_may_be_computed_by_the_database(session: AsyncSession) -> None:
    """Beside plain ones."""
    await filled(session)
    await crates.update_each(session, [Change(n, {"weight": float(n)}) for n in (1, 2)])
    found = await crates.update_each(session, [Change(1, {"weight": Crate.weight + 10}), Change(2, {"weight": 0.5})])
    assert [each.weight for each in found if each is not None] == [11.0, 0.5]


async def test_a_composite_id_addresses_a_row(session: AsyncSession) -> None:
    """As a tuple or by names; an id that is written moves the row."""
    await cells.create_many(session, [{"row": n, "place": p, "value": 0} for n in (1, 2) for p in "ab"])
    changes = [
        Change((2, "a"), {"value": 3}),
        Change({"row": 1, "place": "b"}, {"value": 4}),
        Change((3, "a"), {"value": 1}),
    ]
    found = await cells.rows.update_each(session, changes)
    assert [None if row is None else tuple(row) for row in found] == [(2, "a", 3), (1, "b", 4), None]
    assert {(row.row, row.place): row.value for row in await cells.rows.list(session, limit=9)} == {
        (1, "a"): 0, (1, "b"): 4, (2, "a"): 3, (2, "b"): 0,
    }  # fmt: skip
    moved = await cells.rows.update_each(session, [Change((1, "a"), {"place": "z"}), Change((1, "b"), {"value": 5})])
    assert [None if row is None else tuple(row) for row in moved] == [(1, "z", 0), (1, "b", 5)]


async def test_the_tenant_confines_every_change(session: AsyncSession) -> None:
    """Rows of another tenant are as absent, and no change moves one."""
    await crates.create_many(session, [{"id": n, "code": f"t{n}", "tenant": n % 2} for n in range(1, 5)])
    own = crates.scoped({"tenant": 1})
    found = await own.rows.update_each(session, [Change(n, {"label": f"l{n}", "tenant": 0}) for n in range(1, 5)])
    assert [None if row is None else (row.id, row.tenant, row.label) for row in found] == [
        (1, 1, "l1"), None, (3, 1, "l3"), None,
    ]  # fmt: skip
    assert [row.label for row in await crates.rows.list(session, limit=9)] == ["l1", None, "l3", None]


async def test_text_that_looks_like_a_statement_is_text(session: AsyncSession) -> None:
    """Quotes, backslashes, colons and percent signs arrive as they are."""
    await filled(session)
    texts = ["'; DROP TABLE x --", "\\' :id %s ?"]
    found = await crates.rows.update_each(
        session, [Change(n, {"label": each, "extra": json.dumps(each)}) for n, each in enumerate(texts, start=1)]
    )
    assert [(row.label, row.extra) for row in found if row is not None] == [(each, json.dumps(each)) for each in texts]
