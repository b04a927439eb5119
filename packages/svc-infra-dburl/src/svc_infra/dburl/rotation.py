"""Uses the current password for each new connection of an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["use_password"]


def use_password(engine: Engine | AsyncEngine, provider: Callable[[], str] | None) -> None:
    """Have an engine ask for the password whenever it opens a connection.

    For passwords that change while the service runs: a file that Docker, Kubernetes or Vault rewrites
    (`ResolvedUrl.password`), or a token such as that of RDS IAM, which is good for 15 minutes. Connections that are open
    stay open; SQLAlchemy's ``pool_recycle`` bounds their age. `svc_infra.db.sql.database.Database` does this by itself.

    Args:
        engine: A sync or async engine of SQLAlchemy.
        provider: Returns the password. It should take milliseconds: other tasks wait meanwhile. None changes nothing.

    Example:
        >>> from sqlalchemy import create_engine
        >>> engine = create_engine("sqlite://")
        >>> use_password(engine, None)
    """
    if provider is None:
        return
    sync_engine = engine if isinstance(engine, Engine) else engine.sync_engine

    def set_password(_dialect: object, _record: object, _arguments: object, parameters: dict[str, object]) -> None:
        parameters["password"] = provider()

    event.listen(sync_engine, "do_connect", set_password)
