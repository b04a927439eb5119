"""Locks that a database keeps for a session and frees when the session ends, also with its process."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

from svc_infra.db.sql.core.errors import LockNotObtained, TargetNotResolved
from svc_infra.db.sql.core.holder import FREED, Holder, name_this_process

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["AdvisoryLock", "ApplicationLock", "NamedLock", "SessionLock", "pooler_refused"]


def pooler_refused() -> TargetNotResolved:
    """Return the error for a connection through a pooler in transaction mode."""
    return TargetNotResolved(
        "the connection goes through a pooler in transaction mode, where a migration lock can't be held; "
        "set MIGRATION_DATABASE_URL to the database's direct URL (or a session-mode port)"
    )


class SessionLock:
    """A lock of the database that ends with its session.

    Args:
        connection: The connection that will migrate; the lock takes another one of its engine.
        name: What is migrated.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._other = connection
        self._name = name
        self._session: Connection

    def __enter__(self) -> Self:
        self._session = self._other.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._prepare()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        """End the session, and with it the lock; the pool of an engine that the caller brought would keep both."""
        self._session.invalidate()
        self._session.close()

    def _prepare(self) -> None:
        """Make the session fit to hold the lock for long."""

    def try_acquire(self) -> bool:
        """Take the lock when it is free, without waiting."""
        raise NotImplementedError

    def holder(self) -> Holder:
        """Say who holds the lock, as far as the database tells."""
        return Holder("the database does not tell which")

    def verify(self) -> None:
        """Make sure that the session lives.

        Raises:
            LockNotObtained: It does not.
        """
        from sqlalchemy.exc import DBAPIError

        try:
            self._session.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            raise LockNotObtained(
                "the connection that held the migration lock was closed, so another process may be migrating; "
                f"stopped before the next revision ({error.orig})"
            ) from error

    def _scalar(self, statement: str, **parameters: object) -> object:
        from sqlalchemy import text

        return self._session.execute(text(statement), parameters).scalar()


class AdvisoryLock(SessionLock):
    """PostgreSQL.

    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """

    @property
    def _key(self) -> int:
        digest = hashlib.blake2b(f"svc-infra-migrate:{self._name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def _prepare(self) -> None:
        major = (self._session.dialect.server_version_info or (0,))[0]
        if isinstance(major, int) and major >= 14:
            self._session.exec_driver_sql("SET idle_session_timeout = 0")
        self._refuse_pooler()
        # What others see of the holder; PostgreSQL keeps 63 bytes of it.
        self._scalar("SELECT set_config('application_name', :name, false)", name=f"migration, {name_this_process()}")

    def _refuse_pooler(self) -> None:
        """Refuse a pooler in transaction mode, where both of two clients get the lock and neither can give it back.

        Such a pooler shows in that two open connections share a server process, or one changes it; on a busy pooler
        perhaps not the first time.
        """
        if any(self._shares_a_session() for _ in range(3)):
            raise pooler_refused()

    def _shares_a_session(self) -> bool:
        from sqlalchemy.exc import DBAPIError

        try:
            before = self._scalar("SELECT pg_backend_pid()")
            other = self._other.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            after = self._scalar("SELECT pg_backend_pid()")
        except DBAPIError as error:
            # invalid_sql_statement_name: the statement was prepared in another session than it is run in.
            if getattr(error.orig, "sqlstate", None) == "26000":
                return True
            raise
        finally:
            self._other.rollback()
        return before != after or other in {before, after}

    def try_acquire(self) -> bool:
        """Take the lock when it is free, without waiting."""
        return bool(self._scalar("SELECT pg_try_advisory_lock(:key)", key=self._key))

    def holder(self) -> Holder:
        """Say which session of the server it is, from where and since when."""
        from sqlalchemy import text

        row = self._session.execute(
            text(
                "SELECT a.pid, a.usename, a.application_name, a.client_addr::text, a.backend_start::text"
                " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (l.classid::bigint << 32 | l.objid::bigint) = :key"
            ),
            {"key": self._key},
        ).first()
        if row is None:
            return FREED
        pid, user, application, address, since = row
        program = f" ({application})" if application else ""
        who = f"server process {pid} of {user}{program} from {address or 'the same host'} since {since}"
        return Holder(who, f"SELECT pg_terminate_backend({pid})")


class NamedLock(SessionLock):
    """MySQL and MariaDB; the name counts for the whole server and has at most 64 characters.

    https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
    """

    @property
    def _key(self) -> str:
        database = self._session.engine.url.database or ""
        digest = hashlib.blake2b(f"{database}:{self._name}".encode(), digest_size=16).hexdigest()
        return f"svc-infra-migrate:{digest}"

    def _prepare(self) -> None:
        self._session.exec_driver_sql("SET SESSION wait_timeout = 604800")  # seconds; an idle session would be closed

    def try_acquire(self) -> bool:
        """Take the lock when it is free, without waiting."""
        return self._scalar("SELECT GET_LOCK(:key, 0)", key=self._key) == 1

    def holder(self) -> Holder:
        """Say which connection it is, and whose; the server shows those of the same user."""
        from sqlalchemy import text

        connection = self._scalar("SELECT IS_USED_LOCK(:key)", key=self._key)
        if connection is None:
            return FREED
        listed = self._session.execute(
            text("SELECT user, host FROM information_schema.processlist WHERE id = :id"), {"id": connection}
        ).first()
        whose = f" of {listed[0]} from {listed[1]}" if listed is not None else ""
        return Holder(f"connection {connection} of the server{whose}", f"KILL {connection}")


class ApplicationLock(SessionLock):
    """SQL Server.

    https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-getapplock-transact-sql
    """

    def __exit__(self, *_: object) -> None:
        # Drivers for ODBC keep a closed session for the next connection, and with it the lock.
        from sqlalchemy.exc import DBAPIError

        try:
            self._call("sp_releaseapplock")
        except DBAPIError:
            self._session.invalidate()  # it did not hold the lock, or is dead
        super().__exit__()

    @property
    def _key(self) -> str:
        digest = hashlib.blake2b(self._name.encode(), digest_size=16).hexdigest()
        return f"svc-infra-migrate:{digest}"

    def _call(self, procedure: str, options: str = "") -> object:
        return self._scalar(
            f"SET NOCOUNT ON; DECLARE @code int; EXEC @code = {procedure} @Resource = :key, @LockOwner = 'Session'"
            f"{options}; SELECT @code",
            key=self._key,
        )

    def try_acquire(self) -> bool:
        """Take the lock when it is free, without waiting; 0 and 1 mean that it was granted."""
        code = self._call("sp_getapplock", ", @LockMode = 'Exclusive', @LockTimeout = 0")
        return isinstance(code, int) and code >= 0

    def holder(self) -> Holder:
        """Say which session it is, where the login may see the locks of others."""
        from sqlalchemy.exc import DBAPIError

        try:
            session = self._scalar(
                "SELECT request_session_id FROM sys.dm_tran_locks WHERE resource_type = 'APPLICATION'"
                " AND resource_database_id = DB_ID() AND request_status = 'GRANT'"
                " AND resource_description LIKE '%[[]' + :part + '%'",
                part=self._key[:32],  # of the name the server shows the first 32 characters
            )
        except DBAPIError:
            return super().holder()
        if session is None:
            return super().holder()
        return Holder(f"session {session} of the server", f"KILL {session}")
