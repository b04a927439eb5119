"""Remember which table a failed statement wrote to, for databases that name a constraint and not its columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Table, event
from sqlalchemy.engine import ExceptionContext

_TABLE = "_svc_infra_table"


def note_written_table(engine: Engine) -> None:
    """Attach the table to SQLAlchemy's error when a statement fails."""

    def failed(failure: ExceptionContext) -> None:
        compiled: Any = getattr(failure.execution_context, "compiled", None)
        table = getattr(getattr(compiled, "statement", None), "table", None)
        if failure.sqlalchemy_exception is not None and isinstance(table, Table):
            setattr(failure.sqlalchemy_exception, _TABLE, table)

    event.listen(engine, "handle_error", failed)


def written_table(error: BaseException) -> Table | None:
    """Return the table that the failed statement wrote to, or None when it is not known."""
    table: Table | None = getattr(error, _TABLE, None)
    return table
