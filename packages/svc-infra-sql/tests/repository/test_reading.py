"""Reads: what each gives, in which order, and how many statements it sends."""

from __future__ import annotations

import pytest
from sqlalchemy import DateTime, ForeignKey, String, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, LockTimeout, NotFound, UnknownField
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository


class Author(ModelBase):
    __tablename__ = "reading_authors"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(60))
    year: Mapped[int | None]
    deleted_at: Mapped[object | None] = mapped_column(DateTime)
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(ModelBase):
    __tablename__ = "reading_books"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    author_id: Mapped[str] = mapped_column(ForeignKey("reading_authors.id"))
    title: Mapped[str] = mapped_column(String(60))
    deleted_at: Mapped[object | None] = mapped_column(DateTime)
    author: Mapped[Author] = relationship(back_populates="books")


TABLES = [Author.__table__, Book.__table__]
authors = SqlRepository(Author, soft_delete=True)
books = SqlRepository(Book, soft_delete=True)


async def fill(session: AsyncSession) -> None:
    """Five live authors and a deleted one."""
    for key, name, year in [
        ("a", "Ann", 1990), ("b", "Bob 50%", 1980), ("c", "Cid_x", None), ("d", "ann b", 1990), ("e", None, 1970),
    ]:  # fmt: skip
        await authors.create(session, {"id": key, "name": name, "year": year})
    await authors.create(session, {"id": "x", "name": "Ann deleted", "year": 1})
    await authors.delete(session, "x")


def keys(found: list[Author]) -> str:
    """The ids, joined."""
    return "".join(author.id for author in found)


async def test_every_read_sends_one_statement(session: AsyncSession, statements) -> None:
    """One statement per operation, for objects and for rows."""
    await fill(session)
    statements.taken()
    for repo in (authors, authors.rows):
        calls = [
            repo.get(session, "a"),
            repo.get_many(session, ["a", "b"]),
            repo.first(session),
            repo.list(session, limit=3),
            repo.list_and_count(session, limit=3),
            repo.search(session, q="ann", fields=["name"], limit=3),
            repo.page(session, limit=2),
            repo.count(session),
            repo.exists(session, "a"),
        ]
        for call in calls:
            await call
            assert len(statements.taken()) == 1


async def test_deleted_rows_are_seen_by_no_read_unless_asked(session: AsyncSession) -> None:
    """A soft-deleted row is absent everywhere; `deleted` includes it or picks it alone."""
    await fill(session)
    assert await authors.get(session, "x") is None
    assert await authors.get_many(session, ["x", "a"]) == [await authors.get(session, "a")]
    assert keys(await authors.list(session, limit=10)) == "abcde"
    assert keys(await authors.search(session, q="deleted", fields=["name"], limit=10)) == ""
    assert await authors.count(session) == 5
    assert not await authors.exists(session, "x")
    assert [a.id async for a in authors.stream(session, order_by="id")] == list("abcde")
    assert len((await authors.page(session, limit=10)).items) == 5
    assert keys(await authors.list(session, limit=10, deleted="only")) == "x"
    assert await authors.count(session, deleted="include") == 6
    assert await authors.get(session, "x", deleted="include") is not None
    with pytest.raises(NotFound, match="x"):
        await authors.get_one(session, "x")


async def test_an_object_that_the_session_holds_is_the_one_returned(session: AsyncSession) -> None:
    """Reads keep the identity map's promise: one row, one object."""
    await fill(session)
    first = await authors.get(session, "a")
    assert (await authors.list(session, limit=1))[0] is first
    assert await session.get(Author, "a") is first


async def test_get_many_keeps_the_order_of_the_ids(session: AsyncSession) -> None:
    """Rows come in the order asked for, missing and repeated ids once or not at all."""
    await fill(session)
    assert keys(await authors.get_many(session, ["c", "a", "zz", "c"])) == "ca"
    assert [row.id for row in await authors.rows.get_many(session, ["d", "b"])] == ["d", "b"]
    assert await authors.get_many(session, []) == []


async def test_order_takes_names_and_expressions_and_is_total(session: AsyncSession) -> None:
    """Equal keys are put in order by the primary key, in the direction of the last key."""
    await fill(session)
    where = field("year").eq(1990)
    assert keys(await authors.list(session, limit=9, order_by="year", where=where)) == "ad"
    assert keys(await authors.list(session, limit=9, order_by="-year", where=where)) == "da"
    assert keys(await authors.list(session, limit=9, order_by=["-year", "id"], where=where)) == "ad"
    assert keys(await authors.list(session, limit=9, order_by=[Author.year.desc()], where=where)) == "da"
    assert keys(await authors.list(session, limit=9, order_by=func.length(Author.name), where=where)) == "ad"
    assert keys(await authors.list(session, limit=2, offset=1, order_by="-id")) == "dc"
    with pytest.raises(UnknownField, match="books"):
        await authors.list(session, limit=1, order_by="books")
    with pytest.raises(UnknownField, match="nothing"):
        await authors.list(session, limit=1, order_by="-nothing")


async def test_search_takes_wildcards_literally_and_ignores_case(session: AsyncSession) -> None:
    """%, _ and the escape itself find only themselves, on every database."""
    await fill(session)
    assert keys(await authors.search(session, q="ANN", fields=["name"], limit=9)) == "ad"
    assert keys(await authors.search(session, q="0%", fields=["name"], limit=9)) == "b"
    assert keys(await authors.search(session, q="d_", fields=["name", "id"], limit=9)) == "c"
    assert keys(await authors.search(session, q="%", fields=["name"], limit=9)) == "b"
    assert keys(await authors.search(session, q="/", fields=["name"], limit=9)) == ""
    assert keys(await authors.search(session, q=" ", fields=["name"], limit=9)) == "abcde"
    assert keys(await authors.search(session, q="199", fields=["year"], limit=9)) == "ad"
    assert await authors.count(session, q="ann", fields=["name"]) == 2
    with pytest.raises(UnknownField):
        await authors.search(session, q="a", fields=["books"], limit=9)
    with pytest.raises(InvalidQuery):
        await authors.search(session, q="a", fields=[], limit=9)


async def test_a_page_comes_with_the_number_of_all_rows(session: AsyncSession) -> None:
    """The total is exact with and without a search, and past the end."""
    await fill(session)
    found, total = await authors.list_and_count(session, limit=2, offset=1)
    assert (keys(found), total) == ("bc", 5)
    rows, total = await authors.rows.list_and_count(session, limit=2)
    assert ([row.id for row in rows], total) == (["a", "b"], 5)
    assert await authors.list_and_count(session, limit=2, offset=50) == ([], 5)
    found, total = await authors.list_and_count(session, limit=1, q="ann", fields=["name"])
    assert (keys(found), total) == ("a", 2)
    assert await authors.list_and_count(session, limit=1, where=field("year").gt(3000)) == ([], 0)
    assert await authors.count(session, at_most=3) == 3


async def test_a_window_must_be_of_natural_numbers(session: AsyncSession) -> None:
    """Negative, huge and non-numeric limits and offsets are refused before anything is sent."""
    for limit, offset in [(-1, 0), (1, -1), (2**63, 0), (True, 0), ("1", 0), (None, 0)]:
        with pytest.raises(InvalidValue):
            await authors.list(session, limit=limit, offset=offset)


async def test_rows_are_named_tuples_of_the_fields_asked_for(session: AsyncSession) -> None:
    """The row form gives names and values, of all fields or of some."""
    await fill(session)
    row = await authors.rows.get(session, "a")
    assert row is not None
    assert dict(zip(authors.rows.names, row, strict=True))["name"] == "Ann"
    some = authors.rows_of("name", "year")
    assert await some.list(session, limit=1) == [("Ann", 1990)]
    assert (await some.page(session, limit=1, order_by="id")).items[0].name == "Ann"
    with pytest.raises(UnknownField):
        authors.rows_of("password")


async def test_rows_are_read_on_a_bare_connection(database: Database) -> None:
    """A lone read needs no session and no transaction."""
    async with database.engine.connect() as connection:
        assert await authors.rows.list(connection, limit=1) == []
        with pytest.raises(TypeError, match="row form"):
            await authors.list(connection, limit=1)  # type: ignore[arg-type]


async def test_relationships_are_loaded_without_a_statement_per_row(session: AsyncSession, statements) -> None:
    """`loading` costs one statement per relationship, and leaves deleted related rows out."""
    await fill(session)
    for key, author in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a")]:
        await books.create(session, {"id": key, "author_id": author, "title": f"t{key}"})
    await books.delete(session, "4")
    session.expunge_all()
    statements.taken()
    found = await authors.loading("books").list(session, limit=10)
    assert [[book.id for book in author.books] for author in found[:2]] == [["1", "2"], ["3"]]
    assert len(statements.taken()) == 2
    with pytest.raises(UnknownField):
        authors.loading("name")


async def test_a_locked_row_is_waited_for_refused_or_skipped(database: Database) -> None:
    """FOR UPDATE, NOWAIT and SKIP LOCKED, where the database locks rows."""
    if database.engine.dialect.name in {"sqlite", "duckdb"}:
        async with database.session() as session:
            assert await authors.get(session, "lock", lock="nowait") is None
        pytest.skip("writers lock the whole database; the lock argument is accepted and has no effect")
    async with database.session() as session:
        await authors.create(session, {"id": "lock"})
    async with database.session() as holder, database.session() as other:
        assert await authors.get(holder, "lock", lock="update") is not None
        assert await authors.list(other, limit=5, where=field("id").eq("lock"), lock="skip_locked") == []
        with pytest.raises(LockTimeout):
            await authors.get(other, "lock", lock="nowait")
        await other.rollback()
    async with database.session() as session:
        await authors.purge(session, "lock")
