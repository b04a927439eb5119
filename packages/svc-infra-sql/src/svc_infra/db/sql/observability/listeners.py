"""Attach listeners to every engine of a database, and take them off again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import event

from svc_infra.db.sql.database import Database

__all__ = ["Detach", "attach"]

Detach = Callable[[], None]
"""Takes off what was attached; calling it again does nothing."""


def attach(database: Database, listeners: Mapping[str, Callable[..., Any]], **options: bool) -> Detach:
    """Listen to events of the primary's engine and of every replica's.

    Args:
        database: The database.
        listeners: Listeners by the name of SQLAlchemy's event.
        options: SQLAlchemy's options of the listeners, e.g. `retval`.

    Returns:
        A function that takes the listeners off.
    """
    attached = [
        (engine.sync_engine, name, listener) for engine in database.all_engines for name, listener in listeners.items()
    ]
    for engine, name, listener in attached:
        event.listen(engine, name, listener, **options)

    def detach() -> None:
        while attached:
            event.remove(*attached.pop())

    return detach
