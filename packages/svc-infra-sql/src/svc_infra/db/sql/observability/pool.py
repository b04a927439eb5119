"""How full the pools of a database are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from svc_infra.db.sql.database import Database

__all__ = ["PoolStatistics", "pool_statistics"]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """The connections of one pool now.

    Attributes:
        url: The server, its password hidden when printed.
        used: Connections that sessions hold.
        idle: Open connections that wait for a session.
        size: Connections that are kept open.
        limit: Most connections at a time, overflow included.
    """

    url: URL
    used: int
    idle: int
    size: int
    limit: int

    @classmethod
    def of(cls, engine: AsyncEngine) -> PoolStatistics:
        """Take the statistics of an engine's pool."""
        pool = engine.pool
        if not isinstance(pool, QueuePool):
            return cls(engine.url, 0, 0, 0, 0)
        return cls(
            url=engine.url,
            used=pool.checkedout(),
            idle=pool.checkedin(),
            size=pool.size(),
            limit=pool.size() + max(pool._max_overflow, 0),  # noqa: SLF001 (SQLAlchemy 2.1 has no public name for it)
        )


def pool_statistics(database: Database) -> tuple[PoolStatistics, ...]:
    """Return the statistics of the primary's pool, followed by those of the replicas'."""
    return tuple(PoolStatistics.of(engine) for engine in database.all_engines)
