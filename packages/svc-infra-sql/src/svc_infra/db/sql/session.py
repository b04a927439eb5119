"""The scope of one session: commit on success, rollback on error, typed errors at its boundary."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql._options import Wishes
from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.errors import Disconnected
from svc_infra.db.sql.translate import translate

if TYPE_CHECKING:
    from svc_infra.db.sql.database import Database
    from svc_infra.db.sql.replicas import Replica

__all__ = ["UNABLE_TO_REFUSE_WRITES", "SessionScope", "commit_in_time"]

#: Seconds that giving a connection back after an error may take; beyond it the connection is thrown away.
ROLLBACK_SECONDS = 5.0
#: Seconds that a server may take to answer a COMMIT: its work is done, it waits for the disk and, maybe, for replicas.
COMMIT_SECONDS = 30.0


#: Databases without read-only transactions: what a read-only session wrote nevertheless is rolled back.
UNABLE_TO_REFUSE_WRITES = frozenset({"mssql", "snowflake"})


class SessionScope:
    """`async with` scope of one `AsyncSession`, made by `Database.session()`; used once."""

    __slots__ = ("_database", "_replica", "_session", "_wishes")

    def __init__(self, database: Database, wishes: Wishes) -> None:
        self._database = database
        self._wishes = wishes
        self._session: AsyncSession | None = None
        self._replica: Replica | None = None

    async def __aenter__(self) -> AsyncSession:
        self._database.enter()
        if self._wishes.readonly and self._database.replicas is not None:
            opened = await self._database.replicas.open(self._wishes)
            if opened is not None:
                self._session, self._replica = opened
                return self._session
        self._session = AsyncSession(
            self._database.engines.get(self._wishes), expire_on_commit=False, close_resets_only=False
        )
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session = self._session
        assert session is not None  # noqa: S101 (for the type checker: __aenter__ has run)
        self._session = None
        if error is None:
            try:
                await self._commit(session)
            except BaseException as failure:
                await _discard(session)
                self._raise_typed(failure)
                raise
        else:
            await _discard(session)
            self._raise_typed(error)

    async def _commit(self, session: AsyncSession) -> None:
        if not session.in_transaction():  # nothing was done, or the block has ended it by itself
            session.sync_session.close()
            return
        if self._wishes.readonly and self._database.engine.dialect.name in UNABLE_TO_REFUSE_WRITES:
            await _discard(session)
            return
        replicas = self._database.replicas
        has_written = replicas is not None and not self._wishes.readonly
        await commit_in_time(session, self._database)
        if replicas is not None and has_written:
            replicas.note_write()
        # The connection went back with the commit; what is left, forgetting the objects, needs no greenlet.
        session.sync_session.close()

    def _raise_typed(self, error: BaseException) -> None:
        """Raise the typed error for `error` if there is one; the caller re-raises the others by returning."""
        typed = translate(error)
        if self._replica is not None and isinstance(typed, Disconnected):
            self._replica.failed()
        if typed is not None and typed is not error:
            raise typed from typed.__cause__


async def commit_in_time(session: AsyncSession, database: Database) -> None:
    """Commit, and give up a server that does not answer.

    Raises:
        Disconnected: When it has not answered within `COMMIT_SECONDS`.
    """
    if database.is_embedded:
        await session.commit()
        return
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            await session.commit()
    except TimeoutError as error:
        raise Disconnected(
            f"no answer to COMMIT within {COMMIT_SECONDS:g} s; whether the transaction took place is unknown"
        ) from error


async def _discard(session: AsyncSession) -> None:
    """Roll back and give the connection back, or throw it away when the server does not answer."""
    transaction = session.sync_session.get_transaction()
    if transaction is None:
        session.sync_session.close()
        return
    try:
        await bounded(session.run_sync(lambda sync_session: sync_session.close()), ROLLBACK_SECONDS)
    except TimeoutError:
        return  # the cancelled wait has thrown it away
    except Exception:  # noqa: BLE001 (the error that ended the block matters more than the one of its clean-up)
        # A task that shares the session still waits for an answer on the connection, which would be lost to the pool.
        with suppress(Exception):
            await session.run_sync(lambda _: transaction.close(invalidate=True))
