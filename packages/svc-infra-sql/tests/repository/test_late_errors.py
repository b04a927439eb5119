"""What the database itself refuses: the error names the field where the database or the model tells it."""

from __future__ import annotations

import pytest
from sqlalchemy import CheckConstraint, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import CheckViolation, InvalidValue, SqlError, UniqueViolation
from svc_infra.db.sql.repository import SqlRepository


class Dog(ModelBase):
    __tablename__ = "late_dogs"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str | None] = mapped_column("called", String(20), unique=True)
    age: Mapped[int | None] = mapped_column("years", SmallInteger)
    low: Mapped[int | None]
    high: Mapped[int | None]
    __table_args__ = (
        CheckConstraint("years >= 0 AND called <> 'low'", name="age_and_name"),
        CheckConstraint("low < high", name="span"),
    )


TABLES = [Dog.__table__]
dogs = SqlRepository(Dog)


async def _refused(database: Database, data: dict[str, object]) -> SqlError:
    with pytest.raises(SqlError) as caught:
        async with database.session() as session:
            await dogs.create(session, {"id": 2, **data})
    return caught.value


async def test_a_violation_names_the_fields_of_the_model(database: Database) -> None:
    """Also where a column is called otherwise, and of a check that is only text."""
    async with database.session() as session:
        await dogs.upsert(session, {"id": 1, "name": "rex"})
    taken = await _refused(database, {"name": "rex"})
    assert isinstance(taken, UniqueViolation)
    assert (taken.columns, taken.fields) == (("called",), ("name",))
    checked = await _refused(database, {"age": -1})
    assert isinstance(checked, CheckViolation)
    assert (checked.columns, checked.fields) == (("called", "years"), ("name", "age"))
    spanned = await _refused(database, {"low": 2, "high": 1})
    assert spanned.fields == ("low", "high")
    if database.engine.dialect.name != "duckdb":  # which tells the condition only
        assert "ck_late_dogs_span" in str(spanned)


async def test_a_value_that_only_the_database_refuses_names_its_field(database: Database) -> None:
    """Where the table differs from the model, or a value is computed; MySQL and MariaDB tell the column."""
    async with database.session() as session:
        await dogs.upsert(session, {"id": 1, "name": "rex", "age": 5})
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite stores a value of any size")
    with pytest.raises(InvalidValue) as caught:
        async with database.session() as session:
            await dogs.update(session, 1, {"age": Dog.age + 40000})
    is_told = database.engine.dialect.name in {"mysql", "mariadb"}
    assert caught.value.fields == (("age",) if is_told else ())
    if is_told:
        assert "late_dogs.years" in str(caught.value)


async def test_a_division_by_zero_is_an_invalid_value(database: Database) -> None:
    """Where the database refuses it."""
    async with database.session() as session:
        await dogs.upsert(session, {"id": 1, "name": "rex", "age": 5})
    if database.engine.dialect.name in {"sqlite", "duckdb"}:
        pytest.skip("it is NULL there")
    with pytest.raises(InvalidValue):
        async with database.session() as session:
            await dogs.update(session, 1, {"low": text("1 % 0")})
