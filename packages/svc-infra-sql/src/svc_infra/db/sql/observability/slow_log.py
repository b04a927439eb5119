"""A log line for each statement that took long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sqlalchemy.engine import ExceptionContext

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.observability.listeners import Detach, attach

__all__ = ["log_slow_statements"]

#: Characters of a statement that are logged.
LONGEST_STATEMENT = 2000
_STARTED = "_svc_infra_slow_log_started"


def log_slow_statements(
    database: Database,
    *,
    threshold_ms: float,
    logger: logging.Logger = logging.getLogger("svc_infra.db.sql.slow"),  # noqa: B008 (the same object each time)
    clock: Callable[[], float] = perf_counter,
) -> Detach:
    """Log a warning for each statement that took `threshold_ms` milliseconds or more, a failed one included.

    The line has the statement with its placeholders, never the parameters. The time is the one that the caller waited.

    Args:
        database: The database, with its replicas.
        threshold_ms: Milliseconds from which a statement is slow.
        logger: Where the line goes; `duration_ms`, `statement` and `failed` are attributes of its record.
        clock: Seconds that only go forward.

    Returns:
        A function that ends the logging.
    """

    def before(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        setattr(context, _STARTED, clock())

    def report(statement: str, context: Any, *, failed: bool) -> None:
        started = getattr(context, _STARTED, None)
        if started is None:
            return
        duration_ms = (clock() - started) * 1000
        if duration_ms < threshold_ms:
            return
        text = statement if len(statement) <= LONGEST_STATEMENT else f"{statement[:LONGEST_STATEMENT]} ..."
        logger.warning(
            "%s after %.0f ms: %s",
            "failed" if failed else "slow statement",
            duration_ms,
            text,
            extra={"duration_ms": duration_ms, "statement": text, "failed": failed},
        )

    def after(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        report(statement, context, failed=False)

    def failed(failure: ExceptionContext) -> None:
        report(failure.statement or "", failure.execution_context, failed=True)

    return attach(database, {"before_cursor_execute": before, "after_cursor_execute": after, "handle_error": failed})
