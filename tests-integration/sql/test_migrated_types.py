"""The column types and mixins of svc-infra-sql through a migration that autogenerate wrote."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.db.sql.core import check, find_project, init_alembic, revision, upgrade
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.mixins import SoftDelete, Timestamps, UuidKey, Versioned
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.types import ExactDecimal, UtcDateTime


class Base(DeclarativeBase):
    """The base of this module's table."""


class Payment(UuidKey, Timestamps, SoftDelete, Versioned, Base):
    """A table with a column of every type of ours."""

    __tablename__ = "typed_payments"
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    amount: Mapped[Decimal] = mapped_column(ExactDecimal(18, 4))


def migrate(url: str, folder: Path) -> str:
    """Make the table by autogenerate and upgrade, find no drift, and return the revision file's text."""
    scripts = init_alembic(directory=folder)
    (scripts / "env.py").write_text(
        "from sql.test_migrated_types import Base\n"
        "from svc_infra.db.sql.core.environment import run_migrations\n"
        "run_migrations(metadata=Base.metadata)\n"
    )
    project = find_project(folder)
    revision("payments", autogenerate=True, database_url=url, project=project)
    upgrade(database_url=url, project=project)
    assert check(database_url=url, project=project).ok
    (file,) = (scripts / "versions").glob("*.py")
    return file.read_text()


async def test_a_moment_survives_a_migrated_table_to_the_microsecond(database_url: str, tmp_path: Path) -> None:
    """The generated file imports what it names and runs, the models match it, and no fraction of a second is lost."""
    text = await asyncio.to_thread(migrate, database_url, tmp_path)
    assert "import svc_infra.db.sql.types" in text
    moment = dt.datetime(2026, 6, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
    repository = SqlRepository(Payment, soft_delete=True)
    async with Database(database_url) as database:
        async with database.session() as session:
            made = await repository.create(session, {"at": moment, "amount": Decimal("0.1000")})
            key = made.id
            await session.execute(
                insert(Payment).values(id=uuid.UUID(int=1), at=moment, amount=1, created_at=moment, updated_at=moment)
            )
        async with database.session() as session:
            assert (made.at, made.amount) == (moment, Decimal("0.1000"))
            stored = (await session.execute(select(Payment).where(Payment.id == uuid.UUID(int=1)))).scalar_one()
            assert stored.created_at.replace(tzinfo=None).microsecond == moment.microsecond
            # The database's own time is near ours, in UTC, whatever the session's time zone.
            now = dt.datetime.now(dt.UTC)
            assert abs(in_utc(made.created_at) - now) < dt.timedelta(minutes=5)
            changed = await repository.update(session, key, {"amount": Decimal(2)})
            assert changed is not None
            assert abs(in_utc(changed.updated_at) - now) < dt.timedelta(minutes=5)


def in_utc(moment: dt.datetime) -> dt.datetime:
    """A naive moment of a database without zones is in UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
