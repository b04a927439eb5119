"""The question of a health route: does the database answer?

Through the pool, like everything else; but when all of its connections are in use the question would wait in line, and
a service under load would be called unhealthy because it is busy. Then a connection of its own asks, and is closed.
"""

from __future__ import annotations

from sqlalchemy.util import greenlet_spawn

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.translate import translating

__all__ = ["ask"]


async def ask(database: Database, timeout: float) -> None:  # noqa: ASYNC109 (Database.ping's own parameter)
    """Return when the database answered.

    Args:
        database: The database.
        timeout: Seconds that it has, when it is asked through the pool; otherwise the caller sets the limit.

    Raises:
        SqlError: It did not.
    """
    if database.is_embedded or not database.engines.is_exhausted:
        await database.ping(timeout)
        return
    with translating():
        await greenlet_spawn(_ask_beside_pool, database)


def _ask_beside_pool(database: Database) -> None:
    # A pool of the same kind, with the same way to connect, and nothing in it.
    pool = database.engine.sync_engine.pool.recreate()
    try:
        connection = pool.connect()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.close()
        finally:
            connection.invalidate()
    finally:
        pool.dispose()
