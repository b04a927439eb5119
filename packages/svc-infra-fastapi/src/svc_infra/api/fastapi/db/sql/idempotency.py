"""Idempotency keys: a create that is sent again gives the first answer again, instead of a second record.

    keys = IdempotencyKeys(Base.metadata, principal=current_user_id)     # declares the table `idempotency_keys`
    setup_sql(app, [ApiResource(model=Order, prefix="/orders", idempotency=keys)])

The header `Idempotency-Key` of a create or bulk create (draft-ietf-httpapi-idempotency-key-header) is kept with the
answer in the application's own database, in the transaction that writes the record: both are there or neither is, also
when the process dies between the commit and the answer. Only what succeeded is kept; after an error the same key may be
sent with a corrected body.

    the same key and request       the first answer: status, headers and body, and `Idempotent-Replayed: true`
    the same key, another request  422 idempotency-key-reused
    while the first still runs     409 idempotency-key-in-use, with Retry-After

The table is part of the application's metadata, so its migrations create it; an application whose database lacks it
does not start. Keys of different resources, tenants and principals have nothing to do with each other. Without
*principal*, whoever knows another caller's key, tenant and exact body gets that caller's answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.types import UtcDateTime

__all__ = ["IdempotencyKeys", "IdempotencyTableMissing", "StoredAnswer"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

PrincipalResolver: TypeAlias = Callable[..., object]
"""A FastAPI dependency that returns who sends the request, as anything with a text form that tells callers apart."""

_START_SECONDS: Final = 5.0
# A BLOB of MySQL holds 64 kB; with a length it becomes a type that holds as much.
_BODY: Final = sa.LargeBinary().with_variant(sa.LargeBinary(2**24 - 1), "mysql", "mariadb")


class IdempotencyTableMissing(RuntimeError):
    """The database lacks the table in which idempotency keys are kept."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What is kept of a request.

    Attributes:
        fingerprint: The hash of the request that came with the key.
        status: The status of the answer, None while the request still runs.
        headers: Its headers.
        body: Its body.
    """

    fingerprint: str
    status: int | None
    headers: dict[str, str]
    body: bytes


class IdempotencyKeys:
    """Keeps idempotency keys in a table of the application's database.

    Args:
        metadata: Where the table is declared, such as `Base.metadata`, so that migrations create it.
        table_name: Its name.
        schema: Its schema, None for the default one.
        ttl_hours: How long a key is kept.
        is_required: Whether a request without a key is refused (400).
        principal: A dependency that says who the caller is; keys are the caller's own then.
        clock: Gives the time, aware.

    Raises:
        ValueError: The metadata have a table of this name, or `ttl_hours` is not positive.
    """

    def __init__(
        self,
        metadata: sa.MetaData,
        *,
        table_name: str = "idempotency_keys",
        schema: str | None = None,
        ttl_hours: float = 24.0,
        is_required: bool = False,
        principal: PrincipalResolver | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if ttl_hours <= 0:
            raise ValueError(f"ttl_hours is {ttl_hours}; it must be positive")
        if (table_name if schema is None else f"{schema}.{table_name}") in metadata.tables:
            raise ValueError(f"there is a table {table_name!r} already; make one IdempotencyKeys and share it")
        self.is_required = is_required
        self.principal = principal
        self._ttl = timedelta(hours=ttl_hours)
        self._clock = clock
        self.table: sa.Table = sa.Table(
            table_name,
            metadata,
            sa.Column("id", sa.String(64), primary_key=True, doc="Hash of the key and of whose it is."),
            sa.Column("resource", sa.String(255), nullable=False, doc="Prefix of the resource, for people."),
            sa.Column("fingerprint", sa.String(64), nullable=False, doc="Hash of the request."),
            sa.Column("status", sa.SmallInteger, doc="Status of the answer."),
            sa.Column("headers", sa.JSON, doc="Headers of the answer."),
            sa.Column("body", _BODY, doc="Body of the answer."),
            sa.Column("created_at", UtcDateTime, nullable=False),
            sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
            schema=schema,
        )

    async def find(self, session: AsyncSession, key_id: str) -> StoredAnswer | None:
        """Return what is kept of a key; one that has expired is removed."""
        table = self.table
        row = (await session.execute(sa.select(table).where(table.c.id == key_id))).one_or_none()
        if row is None:
            return None
        if row.expires_at <= self._clock():
            await session.execute(sa.delete(table).where(table.c.id == key_id))
            return None
        return StoredAnswer(row.fingerprint, row.status, row.headers or {}, bytes(row.body or b""))

    async def claim(self, session: AsyncSession, key_id: str, resource: str, fingerprint: str) -> None:
        """Take a key for the request that this transaction carries out.

        Raises:
            sqlalchemy.exc.DBAPIError: Another transaction has just taken it.
        """
        now = self._clock()
        values: dict[str, Any] = {
            "id": key_id,
            "resource": resource,
            "fingerprint": fingerprint,
            "created_at": now,
            "expires_at": now + self._ttl,
        }
        await session.execute(sa.insert(self.table).values(values))

    async def keep(self, session: AsyncSession, key_id: str, answer: StoredAnswer) -> None:
        """Keep the answer of the request that took the key."""
        values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        await session.execute(sa.update(self.table).where(self.table.c.id == key_id).values(values))

    async def purge(self, session: AsyncSession) -> int:
        """Remove the keys that have expired and return how many; to be called now and then, such as once an hour."""
        result: Any = await session.execute(sa.delete(self.table).where(self.table.c.expires_at <= self._clock()))
        return int(result.rowcount)

    async def require_table(self, database: Database) -> None:
        """Make sure that the table is there; a database that can't be reached is left to the first request.

        Raises:
            IdempotencyTableMissing: It is not.
        """
        try:
            async with asyncio.timeout(_START_SECONDS), database.engine.connect() as connection:
                is_there = await connection.run_sync(self._is_there)
        except (SQLAlchemyError, OSError) as error:  # a TimeoutError is an OSError
            logger.warning("could not look for the table %s: %s", self.table.fullname, type(error).__name__)
            return
        if not is_there:
            raise IdempotencyTableMissing(
                f"idempotency keys are kept in the table {self.table.fullname!r}, which the database does not have."
                " It is declared in the application's metadata: create a revision and upgrade, such as by"
                " `svc-infra sql revision --autogenerate -m 'idempotency keys'` and `svc-infra sql upgrade`"
            )

    def _is_there(self, connection: sa.Connection) -> bool:
        return sa.inspect(connection).has_table(self.table.name, schema=self.table.schema)


async def try_lock(session: AsyncSession | AsyncConnection, key_id: str, dialect_name: str) -> bool:
    """Lock a key until the end of the transaction, where the database can do that without waiting (PostgreSQL).

    Returns:
        False when another transaction has it.
    """
    if dialect_name != "postgresql":
        return True
    number = int(key_id[:16], 16) - 2**63
    found = await session.execute(sa.text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number})
    return bool(found.scalar())
