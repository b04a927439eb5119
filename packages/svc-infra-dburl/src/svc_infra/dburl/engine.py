"""What a result asks of an engine that can't be passed to the driver as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from svc_infra.dburl.errors import EncryptionRefused
from svc_infra.dburl.resolved import ResolvedUrl

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["prepare_engine", "require_encryption", "use_password"]


def prepare_engine(engine: Engine | AsyncEngine, resolved: ResolvedUrl) -> None:
    """Have an engine use the current password for each new connection, and no connection less secure than asked for.

    `svc_infra.db.sql.database.Database` does this by itself; it is for those who make an engine by hand.

    Args:
        engine: A sync or async engine of SQLAlchemy, made of the URL and connect arguments of `resolved`.
        resolved: The result.

    Example:
        >>> from sqlalchemy import create_engine
        >>> from svc_infra.dburl import resolve_url
        >>> resolved = resolve_url("sqlite://", environ={}, mode="sync")
        >>> engine = create_engine(resolved.url, connect_args=resolved.connect_args)
        >>> prepare_engine(engine, resolved)
    """
    use_password(engine, resolved.password)
    if resolved.driver == "aiomysql" and "ssl" in resolved.connect_args:
        require_encryption(engine)


def use_password(engine: Engine | AsyncEngine, provider: Callable[[], str] | None) -> None:
    """Have an engine ask for the password whenever it opens a connection.

    For passwords that change while the service runs: a file that Docker, Kubernetes or Vault rewrites
    (`ResolvedUrl.password`), or a token such as that of RDS IAM, which is good for 15 minutes. Connections that are
    open stay open; SQLAlchemy's ``pool_recycle`` bounds their age.

    Args:
        engine: A sync or async engine of SQLAlchemy.
        provider: Returns the password. It should take milliseconds: other tasks wait meanwhile. None changes nothing.
    """
    if provider is None:
        return

    def set_password(_dialect: object, _record: object, _arguments: object, parameters: dict[str, object]) -> None:
        parameters["password"] = provider()

    event.listen(_sync(engine), "do_connect", set_password)


def require_encryption(engine: Engine | AsyncEngine) -> None:
    """Have an engine on aiomysql refuse connections that are not encrypted.

    aiomysql 0.3 goes on in plain text, without a word, when the server offers no TLS, or when someone in between has
    taken the offer out. asyncmy and PyMySQL refuse by themselves.

    Args:
        engine: An engine whose connect arguments have a TLS context under ``ssl``.
    """

    def check(connection: Any, _record: object) -> None:
        driver_connection = getattr(connection, "driver_connection", connection)
        if not driver_connection._secure:  # noqa: SLF001 (there is no public way to ask aiomysql)
            driver_connection.close()
            raise EncryptionRefused(
                "aiomysql",
                "the URL wants TLS, and the server offers none",
                "Turn TLS on in the server, or add ?ssl-mode=DISABLED for a local one",
            )

    event.listen(_sync(engine), "connect", check)


def _sync(engine: Engine | AsyncEngine) -> Engine:
    return engine if isinstance(engine, Engine) else engine.sync_engine
