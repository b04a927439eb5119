"""Filters: every operator against the same filter in Python, and relations without doubled rows."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Column, DateTime, ForeignKey, String, Table
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.filters import AllOf, AnyOf, Filter, field
from svc_infra.db.sql.repository import SqlRepository

tags = Table(
    "filters_post_tags",
    ModelBase.metadata,
    Column("post_id", ForeignKey("filters_posts.id"), primary_key=True),
    Column("tag_id", ForeignKey("filters_tags.id"), primary_key=True),
)


class Writer(ModelBase):
    __tablename__ = "filters_writers"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str | None] = mapped_column(String(30))
    age: Mapped[int | None]
    tenant: Mapped[int]
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("filters_writers.id"))
    boss: Mapped[Writer | None] = relationship(remote_side=[id], back_populates="team")  # noqa: A003
    team: Mapped[list[Writer]] = relationship(back_populates="boss")
    posts: Mapped[list[Post]] = relationship(back_populates="writer")
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


class Post(ModelBase):
    __tablename__ = "filters_posts"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    writer_id: Mapped[int] = mapped_column(ForeignKey("filters_writers.id"))
    title: Mapped[str] = mapped_column(String(30))
    tenant: Mapped[int]
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    writer: Mapped[Writer] = relationship(back_populates="posts")
    tags: Mapped[list[Tag]] = relationship(secondary=tags)


class Tag(ModelBase):
    __tablename__ = "filters_tags"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(String(30))


TABLES = [Writer.__table__, Post.__table__, Tag.__table__, tags]
writers = SqlRepository(Writer, soft_delete=True)
PEOPLE = [(1, "Ann", 30), (2, "Bob_x", 20), (3, None, 40), (4, "50%", None), (5, "a/b", 30)]


async def fill(session: AsyncSession) -> None:
    """Five writers of two tenants, some posts with tags."""
    for key, name, age in PEOPLE:
        boss = 1 if key > 3 else None
        await writers.create(session, {"id": key, "name": name, "age": age, "tenant": key % 2, "boss_id": boss})
    red, blue = Tag(id=1, label="red"), Tag(id=2, label="blue")
    session.add_all(
        [
            Post(id=1, writer_id=1, title="one", tenant=1, tags=[red, blue]),
            Post(id=2, writer_id=1, title="two", tenant=1, tags=[red]),
            Post(id=3, writer_id=2, title="three", tenant=1, tags=[]),
            Post(id=4, writer_id=3, title="gone", tenant=1, tags=[blue], deleted_at=dt.datetime(2026, 1, 1)),  # noqa: DTZ001
        ]
    )
    await session.flush()


name, age, posts = field("name"), field("age"), field("posts")
CASES: list[tuple[Filter, set[int]]] = [
    (name.eq("Ann"), {1}),
    (name.eq(None), {3}),
    (name.ne("Ann"), {2, 4, 5}),
    (name.ne(None), {1, 2, 4, 5}),
    (age.lt(30), {2}),
    (age.le(30), {1, 2, 5}),
    (age.gt(30), {3}),
    (age.ge(30), {1, 3, 5}),
    (age.in_([20, 40, 99]), {2, 3}),
    (age.in_([]), set()),
    (age.not_in([20]), {1, 3, 5}),
    (age.between(20, 30), {1, 2, 5}),
    (age.is_null(), {4}),
    (age.is_null(False), {1, 2, 3, 5}),
    (name.like("B%"), {2}),
    (name.ilike("b%"), {2}),
    (name.contains("_"), {2}),
    (name.contains("%"), {4}),
    (name.contains("/"), {5}),
    (name.icontains("NN"), {1}),
    (name.starts_with("50"), {4}),
    (name.ends_with("x"), {2}),
    (field("age").contains("0"), {1, 2, 3, 5}),
    (age.eq(30) & name.eq("Ann"), {1}),
    (age.eq(20) | name.eq("Ann"), {1, 2}),
    (~age.eq(30), {2, 3}),
    (~(age.eq(30) | age.is_null()), {2, 3}),
    (AllOf(()), {1, 2, 3, 4, 5}),
    (AnyOf(()), set()),
    (posts.any(), {1, 2}),
    (~posts.any(), {3, 4, 5}),
    (posts.any(field("title").starts_with("t")), {1, 2}),
    (posts.any(field("tags").any(field("label").eq("red"))), {1}),
    (field("posts.tags.label").in_(["red", "blue"]), {1}),
    (posts.any(field("title").eq("two") & ~field("tags.label").eq("blue")), {1}),
    (field("boss.name").eq("Ann"), {4, 5}),
    (field("boss").has(field("age").gt(29)), {4, 5}),
    (field("team").any(field("name").eq("a/b")), {1}),
    (field("boss").has() & age.is_null(), {4}),
]


async def test_every_filter_finds_its_rows_and_counts_them_once(session: AsyncSession) -> None:
    """list, count, exists and page agree, and no to-many filter doubles or miscounts rows."""
    await fill(session)
    for where, expected in CASES:
        found = [writer.id for writer in await writers.list(session, limit=10, where=where)]
        assert found == sorted(expected), where
        assert await writers.count(session, where=where) == len(expected)
        assert await writers.exists(session, where=where) is bool(expected)
        assert len((await writers.page(session, limit=10, where=where)).items) == len(expected)


@pytest.mark.parametrize("operator", ["like", "ilike"])
async def test_a_backslash_escapes_in_patterns_of_every_database(session: AsyncSession, operator: str) -> None:
    """It makes a wildcard a letter; one that nothing follows is refused before it is sent, and the session goes on."""
    texts = ["a", "a\\", "50%", "50\\%", "50\\x", "a_c", "abc"]
    await writers.create_many(session, [{"id": key, "name": text, "tenant": 1} for key, text in enumerate(texts)])
    for pattern, expected in (
        (r"50%", {"50%", "50\\%", "50\\x"}),
        (r"50\%", {"50%"}),
        (r"50\\%", {"50\\%", "50\\x"}),
        (r"a\\", {"a\\"}),
        (r"\a", {"a"}),
        (r"a\_c", {"a_c"}),
    ):
        found = await writers.list(session, limit=10, where=getattr(name, operator)(pattern))
        assert {writer.name for writer in found} == expected, pattern
    for pattern in ("a\\", "\\", "a\\\\\\"):
        with pytest.raises(InvalidValue, match="backslash"):
            await writers.list(session, limit=10, where=getattr(name, operator)(pattern))
    assert await writers.count(session) == len(texts)


async def test_filters_and_expressions_combine(session: AsyncSession) -> None:
    """A list of conditions must hold altogether, filters beside SQLAlchemy's expressions."""
    await fill(session)
    where = [age.ge(30), Writer.name.is_not(None), Writer.posts.any(Post.title == "one")]
    assert [writer.id for writer in await writers.list(session, limit=10, where=where)] == [1]
    assert await writers.count(session, where=Writer.age > 30) == 1


async def test_a_filter_over_a_relation_sees_only_rows_of_the_scope(session: AsyncSession) -> None:
    """A tenant can't find out about another one's rows by asking for what they are related to."""
    await fill(session)
    even = writers.scoped({"tenant": 0})
    assert [writer.id for writer in await even.list(session, limit=10, where=posts.any())] == []
    assert [writer.id for writer in await writers.list(session, limit=10, where=posts.any())] == [1, 2]
    assert await even.count(session, where=field("boss.name").eq("Ann")) == 0


async def test_the_same_shape_of_filter_is_built_once(session: AsyncSession) -> None:
    """Another value, even another length of list, reuses the statement."""
    await fill(session)
    await writers.list(session, limit=10, where=age.in_([1, 2]) & name.eq("x"))
    kept = writers._plan.statements(session.get_bind().dialect.name)._kept
    before = len(kept)
    assert [w.id for w in await writers.list(session, limit=10, where=age.in_([30]) & name.eq("Ann"))] == [1]
    assert len(kept) == before


@pytest.mark.parametrize("attribute", [Writer.age, "age"])
def test_a_field_is_named_by_text_or_by_its_attribute(attribute: object) -> None:
    """Both make the same filter."""
    assert field(attribute).eq(1) == age.eq(1)  # type: ignore[arg-type]
