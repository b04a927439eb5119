"""Comments behind statements that tell a database's own log and statistics where a statement came from.

The format is that of sqlcommenter (https://google.github.io/sqlcommenter/spec/): keys in order, keys and values
percent-encoded, values in quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.observability.listeners import Detach, attach

__all__ = ["comment_of", "tag_statements"]


def comment_of(tags: Mapping[str, str]) -> str:
    """Return the comment for some tags, empty when there are none.

    Example:
        >>> comment_of({"route": "/users/{id}", "application": "shop's"})
        "/*application='shop%27s',route='%2Fusers%2F%7Bid%7D'*/"
    """
    if not tags:
        return ""
    # A quote, and the end of the comment, are encoded: a tag can't become SQL. `~` and the like are safe in both.
    pairs = (f"{quote(key, safe='')}='{quote(value, safe='')}'" for key, value in sorted(tags.items()))
    return f"/*{','.join(pairs)}*/"


def tag_statements(database: Database, tags: Callable[[], Mapping[str, str]]) -> Detach:
    """Add a comment with `tags()` to each statement.

    Tags that differ from request to request (a trace, a user) make every statement a new one for the database: drivers
    and poolers that keep prepared statements lose their use. Prefer the route and the application's name.

    Args:
        database: The database, with its replicas.
        tags: Called for each statement, in the context of the caller.

    Returns:
        A function that ends the tagging.
    """

    def before(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        comment = comment_of(tags())
        # A per cent sign is a placeholder's beginning in psycopg and the MySQL drivers.
        escaped = comment.replace("%", "%%") if database.engine.dialect.paramstyle in _PERCENT_STYLES else comment
        return (f"{statement} {escaped}" if escaped else statement), parameters

    return attach(database, {"before_cursor_execute": before}, retval=True)


_PERCENT_STYLES = frozenset({"format", "pyformat"})
