"""Connections that an error says are lost, before their sockets are closed."""

from __future__ import annotations

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from svc_infra.db.sql.errors import Disconnected
from svc_infra.db.sql.translate import translate

__all__ = ["give_up_lost_connections"]


def give_up_lost_connections(engine: Engine) -> None:
    """Have SQLAlchemy give up a connection of PostgreSQL when an error says that it is lost.

    SQLAlchemy looks whether the driver has closed it. When the server has ended it, its last words may be read before
    that, and what follows on it, the rollback to begin with, would raise errors about asyncpg's state.
    """

    def failed(failure: ExceptionContext) -> None:
        if not failure.is_disconnect and isinstance(translate(failure.original_exception), Disconnected):
            failure.is_disconnect = True

    event.listen(engine, "handle_error", failed)
