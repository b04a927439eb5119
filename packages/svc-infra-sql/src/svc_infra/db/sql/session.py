"""The scope of one session: commit on success, rollback on error, typed errors at its boundary."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql._options import Wishes
from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.translate import translate

if TYPE_CHECKING:
    from svc_infra.db.sql.database import Database

__all__ = ["SessionScope"]

#: Seconds that giving a connection back after an error may take; beyond it the connection is thrown away.
ROLLBACK_SECONDS = 5.0


class SessionScope:
    """`async with` scope of one `AsyncSession`, made by `Database.session()`; used once."""

    __slots__ = ("_database", "_session", "_wishes")

    def __init__(self, database: Database, wishes: Wishes) -> None:
        self._database = database
        self._wishes = wishes
        self._session: AsyncSession | None = None

    async def __aenter__(self) -> AsyncSession:
        self._database.enter()
        self._session = AsyncSession(self._database.engines.get(self._wishes), expire_on_commit=False)
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session = self._session
        assert session is not None  # noqa: S101 (for the type checker: __aenter__ has run)
        self._session = None
        if error is None:
            try:
                await session.commit()
            except BaseException as failure:
                await _discard(session)
                _raise_typed(failure)
                raise
            else:
                # The connection went back with the commit; what is left, forgetting the objects, needs no greenlet.
                session.sync_session.close()
        else:
            await _discard(session)
            _raise_typed(error)


async def _discard(session: AsyncSession) -> None:
    """Roll back and give the connection back, or throw it away when the server does not answer."""
    if not session.in_transaction():
        session.sync_session.close()
        return
    try:
        await bounded(session.run_sync(lambda sync_session: sync_session.close()), ROLLBACK_SECONDS)
    except Exception:  # noqa: BLE001 (the error that ended the block matters more than the one of its clean-up)
        return


def _raise_typed(error: BaseException) -> None:
    """Raise the typed error for `error` if there is one; the caller re-raises the others by returning."""
    typed = translate(error)
    if typed is not None and typed is not error:
        raise typed from typed.__cause__
