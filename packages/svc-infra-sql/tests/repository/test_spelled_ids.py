"""Ids that the database takes for the same though they are written otherwise: every method agrees with `get`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import CHAR, Numeric, String
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, StaleVersion
from svc_infra.db.sql.repository import SqlRepository


class Word(ModelBase):
    __tablename__ = "spelled_words"
    id: Mapped[str] = mapped_column(
        String(20)
        .with_variant(String(20, collation="utf8mb4_unicode_ci"), "mysql", "mariadb")
        .with_variant(String(20, collation="NOCASE"), "sqlite"),
        primary_key=True,
    )
    note: Mapped[str | None] = mapped_column(String(20))
    version: Mapped[int] = mapped_column(default=1)


class Padded(ModelBase):
    __tablename__ = "spelled_padded"
    id: Mapped[str] = mapped_column(CHAR(8), primary_key=True)
    note: Mapped[str | None] = mapped_column(String(20))


class Amount(ModelBase):
    __tablename__ = "spelled_amounts"
    id: Mapped[Decimal] = mapped_column(Numeric(8, 2), primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(20))


class Ratio(ModelBase):
    __tablename__ = "spelled_ratios"
    id: Mapped[float] = mapped_column(Numeric(8, 2, asdecimal=False), primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(20))


class Number(ModelBase):
    __tablename__ = "spelled_numbers"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(20))


class Place(ModelBase):
    __tablename__ = "spelled_places"
    land: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(
        String(20)
        .with_variant(String(20, collation="utf8mb4_unicode_ci"), "mysql", "mariadb")
        .with_variant(String(20, collation="NOCASE"), "sqlite"),
        primary_key=True,
    )
    note: Mapped[str | None] = mapped_column(String(20))


TABLES = [each.__table__ for each in (Word, Padded, Amount, Ratio, Number, Place)]

WORDS = ["a", "b", "caf\u00e9", "d", "\u00df", "z "]
CASES: list[tuple[type[Any], list[object], list[object]]] = [
    (Word, [*WORDS], ["B", "x", "A", "cafe", "d ", "D", "d", "ss", "Z", "z"]),
    (Padded, ["a", "bb"], ["bb      ", "a ", "A", "a", "bb"]),
    (Amount, [Decimal("1.5"), 2, Decimal("0.1")], [Decimal("1.500"), 2.0, 0.1, Decimal("1.504"), 3]),
    (Ratio, [1.5, 0.1], [Decimal("0.1"), 1.5, Decimal("1.50"), 0.1]),
    (Number, [0, 1, 2], [True, 2, False, 7]),
    (Place, [(1, "a"), (1, "b"), (2, "a")], [(1, "B"), (2, "A"), (3, "a"), (1, "a")]),
]


def _id(row: Any) -> Any:
    if row is None:
        return None
    return (row.land, row.name) if hasattr(row, "land") else row.id


@pytest.mark.parametrize(("model", "there", "asked"), CASES, ids=[model.__name__ for model, _, _ in CASES])
async def test_many_rows_are_found_by_the_ids_that_find_one(
    session: AsyncSession, model: type[Any], there: list[Any], asked: list[object]
) -> None:
    """`get_many` and `update_each` find what `get` does by each id, whatever case, blanks, accents or type it is in."""
    repo = SqlRepository(model)
    for given in there:
        await repo.create(session, dict(zip(repo.id_fields, given if type(given) is tuple else (given,), strict=True)))
    one_by_one = [(given, _id(await repo.get(session, given))) for given in asked]
    wanted = {own for _, own in one_by_one if own is not None}
    assert wanted
    for form in (repo, repo.rows):
        found = [_id(row) for row in await form.get_many(session, asked)]
        assert len(found) == len(wanted)
        assert set(found) == wanted
        for given, own in one_by_one:
            assert [_id(row) for row in await form.get_many(session, [given])] == ([] if own is None else [own])
        changes = [
            Change(given, {"note": repr(own)}) for own, given in {own: given for given, own in one_by_one}.items()
        ]
        notes = {own: None if own is None else repr(own) for _, own in one_by_one}
        found = await form.update_each(session, changes)
        assert [row and row.note for row in found] == list(notes.values())


async def test_a_row_comes_once_and_in_the_order_of_the_ids(session: AsyncSession, statements: Any) -> None:
    """At the first id that finds it, by one statement more for all ids that are spelled otherwise, and none else."""
    words = SqlRepository(Word).rows
    await words.create_many(session, [{"id": each} for each in "abc"])
    is_blind = await words.get(session, "A") is not None
    statements.taken()
    assert [row.id for row in await words.get_many(session, ["c", "x", "a", "c"])] == ["c", "a"]
    assert len(statements.taken()) == 1
    found = await words.get_many(session, ["C", "x", "b", "c", "A", "B"])
    assert [row.id for row in found] == (["c", "b", "a"] if is_blind else ["b", "c"])
    assert len(statements.taken()) == (2 if is_blind else 1)


async def test_changes_know_their_rows_as_the_database_does(session: AsyncSession) -> None:
    """Two changes of one row are refused, and a version is compared, in whatever spelling their ids are."""
    words = SqlRepository(Word, version_field="version")
    await words.create_many(session, [{"id": each} for each in "abc"])
    if await words.get(session, "A") is None:
        pytest.skip("the collation tells letters' case apart")
    for pair in ("baA", "Aba", "bBA"):
        with pytest.raises(InvalidQuery) as refused:
            await words.update_each(session, [Change(each, {"note": "x"}) for each in pair])
        assert refused.value.row == (1 if pair == "bBA" else 2)
    with pytest.raises(StaleVersion) as stale:
        await words.update_each(session, [Change("a", {"note": "x"}, 1), Change("B", {"note": "x"}, 2)])
    assert stale.value.row == 1
    changes = [Change("B", {"note": "x"}, 1), Change("a", {"note": "y"}, 1), Change("X", {"note": "z"})]
    assert [row and (row.id, row.note) for row in await words.update_each(session, changes)] == [
        ("b", "x"),
        ("a", "y"),
        None,
    ]


async def test_ids_of_another_type_are_refused_alike(memory: AsyncSession) -> None:
    """A number as text finds nothing by accident, in one place or in many."""
    numbers = SqlRepository(Number)
    for given in ("1", 1.0, b"1"):
        with pytest.raises(InvalidValue):
            await numbers.get(memory, given)
        with pytest.raises(InvalidValue):
            await numbers.get_many(memory, [1, given])


async def test_a_lone_read_of_many_asks_for_other_spellings_too(database: Database) -> None:
    """It needs no transaction for its second statement."""
    words = SqlRepository(Word)
    async with database.session() as session:
        await words.upsert(session, {"id": "lone"})
    async with database.lone() as lone:
        one = await words.rows.get(lone, "LONE")
        assert await words.rows.get_many(lone, ["LONE", "lone2"]) == ([] if one is None else [one])
    async with database.session() as session:
        await words.purge(session, "lone")


@pytest.mark.parametrize(("model", "first", "second"), [(Word, "a", "A"), (Padded, "a", "a  ")])
async def test_an_upsert_of_one_row_twice_is_refused(
    session: AsyncSession, kept_url: str, model: type[Any], first: str, second: str
) -> None:
    """In whatever spelling the key is given, as where it is given the same way twice, and nothing is written."""
    repo = SqlRepository(model).rows
    await repo.create(session, {"id": first, "note": "old"})
    if await repo.get(session, second) is None:
        pytest.skip("the database tells the two apart")
    with pytest.raises(InvalidQuery, match="same key") as refused:
        await repo.upsert_many(session, [{"id": "x"}, {"id": first, "note": "1"}, {"id": second, "note": "2"}])
    assert refused.value.row == 2
    if not kept_url.startswith("duckdb"):
        assert [row.note for row in await repo.list(session, limit=9)] == ["old"]
