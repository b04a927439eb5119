"""Proving a backup by restoring it into a scratch database, counting what is there, and dropping it again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL

from svc_infra.data.lifecycle.errors import BrokenBackup
from svc_infra.data.lifecycle.report import BackupFile, RestoreProof
from svc_infra.data.lifecycle.streams import open_dump
from svc_infra.dburl import redact, resolve_url
from svc_infra.health.check import Worker

__all__ = ["restore"]

# Words at the beginning of a line of a plain dump that would lead the restore out of the scratch database.
# (A row of COPY data can't begin so: a backslash is doubled there.)
_LEAVING_POSTGRES = (b"\\connect", b"\\c ")
_LEAVING_MYSQL = (b"USE ", b"CREATE DATABASE", b"DROP DATABASE")

_COUNT_POSTGRES = """
SELECT format('SELECT count(*) FROM %I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') \\gexec
"""
_TABLES_MYSQL = (
    "SELECT CONCAT('SELECT COUNT(*) FROM `', table_name, '`;') FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
)


async def restore(backup: BackupFile, server: str, *, timeout_seconds: float) -> RestoreProof:
    """Restore a backup into a new scratch database on a server, count its tables and rows, and drop it.

    Args:
        backup: A backup that was read and recognised.
        server: URL of a server, with a user that may create databases. For SQLite backups "sqlite://".
        timeout_seconds: For all of it.

    Raises:
        BrokenBackup: It can't be restored there; nothing stays behind.
    """
    kind = (backup.kind or "").partition("+")[0]
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            if kind in ("sqlite", "sqlite-plain"):
                tables, rows = await Worker().run(lambda: _into_sqlite(backup.path, kind, started + timeout_seconds))
            elif kind.startswith("postgresql-") and not kind.startswith("postgresql-base"):
                tables, rows = await _into_postgres(backup.path, kind, _server(server, "postgresql"))
            elif kind == "mysql-plain":
                tables, rows = await _into_mysql(backup.path, _server(server, "mysql", "mariadb"))
            else:
                raise BrokenBackup(
                    "restore", f"a backup of the kind {kind or 'that is not known'} can't be restored here"
                )
    except TimeoutError as error:
        raise BrokenBackup("timeout", f"restoring it took longer than {timeout_seconds:g} s") from error
    if not tables:
        raise BrokenBackup("restore", "it was restored, and no table was in it")
    return RestoreProof(tables, rows, time.monotonic() - started)


def _server(url: str, *kinds: str) -> URL:
    resolved = resolve_url(url, mode="sync", installed=lambda _: True).url if "://" in url else None
    if resolved is None or resolved.get_backend_name() not in kinds:
        raise BrokenBackup("restore", f"restore_into is {redact(url)!r}; this backup needs a {kinds[0]}:// server")
    return resolved


def _into_sqlite(path: Path, kind: str, deadline: float) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(prefix="backup-restore-") as folder:
        target = Path(folder) / "database"
        if kind == "sqlite":
            with open_dump(path, deadline) as (stream, _), target.open("wb") as file:
                while data := stream.read():
                    file.write(data)
        connection = sqlite3.connect(target)
        try:
            if kind == "sqlite-plain":
                with open_dump(path, deadline) as (stream, _):
                    text = b"".join(iter(stream.read, b"")).decode()
                connection.executescript(text)
            tables = [
                row[0]
                for row in connection.execute(
                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                )
            ]
            quoted = ('"' + name.replace('"', '""') + '"' for name in tables)
            rows = sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in quoted)  # noqa: S608
        except sqlite3.Error as error:
            raise BrokenBackup("restore", f"SQLite can't restore it: {error}") from error
        finally:
            connection.close()
    return len(tables), rows


async def _into_postgres(path: Path, kind: str, server: URL) -> tuple[int, int]:
    psql, environ = _program("psql"), _postgres_environ(server)

    async def sql(database: str, text: str) -> str:
        command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
        return await _run(command, environ, text.encode())

    scratch = f"svc_infra_restore_{secrets.token_hex(6)}"
    home = server.database or "postgres"
    await sql(home, f'CREATE DATABASE "{scratch}" TEMPLATE template0')
    try:
        if kind == "postgresql-plain":
            async with _plain_text(path, _LEAVING_POSTGRES) as text:
                await _run([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", scratch, "-f", text], environ)
        else:
            async with _unpacked(path) as archive:
                command = [
                    _program("pg_restore"),
                    "--no-owner",
                    "--no-privileges",
                    "--exit-on-error",
                    "-d",
                    scratch,
                    archive,
                ]
                await _run(command, environ)
        counts = [int(line) for line in (await sql(scratch, _COUNT_POSTGRES)).split()]
    finally:
        # Also when cancelled: the scratch database must not stay behind.
        await asyncio.shield(sql(home, f'DROP DATABASE IF EXISTS "{scratch}" WITH (FORCE)'))
    return len(counts), sum(counts)


async def _into_mysql(path: Path, server: URL) -> tuple[int, int]:
    client = _program("mariadb", "mysql")
    options = ["--user", server.username or "", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]
    socket = server.query.get("unix_socket")
    if isinstance(socket, str):
        options += ["--socket", socket]
    else:
        options += ["--protocol=TCP", "--host", server.host or "127.0.0.1", "--port", str(server.port or 3306)]
    environ = {**os.environ, "MYSQL_PWD": server.password or ""}

    async def sql(database: str | None, text: str) -> str:
        return await _run([client, *options, *([database] if database else [])], environ, text.encode())

    scratch = f"svc_infra_restore_{secrets.token_hex(6)}"
    await sql(None, f"CREATE DATABASE `{scratch}`")
    try:
        async with _plain_text(path, _LEAVING_MYSQL) as text:
            with open(text, "rb") as file:  # noqa: ASYNC230, PTH123 - handed to the program, not read here
                await _run([client, *options, scratch], environ, file)
        statements = await sql(scratch, _TABLES_MYSQL)
        counts = [int(line) for line in (await sql(scratch, statements)).split()] if statements else []
    finally:
        await asyncio.shield(sql(None, f"DROP DATABASE IF EXISTS `{scratch}`"))
    return len(counts), sum(counts)


@asynccontextmanager
async def _plain_text(path: Path, leaving: tuple[bytes, ...]) -> AsyncIterator[str]:
    """Unpack a plain dump, and refuse one that would be restored into other databases than the scratch one."""
    async with _unpacked(path) as text:
        await Worker().run(lambda: _refuse_leaving(Path(text), leaving))
        yield text


def _refuse_leaving(path: Path, leaving: tuple[bytes, ...]) -> None:
    with path.open("rb") as file:
        at_start = True
        while line := file.readline(1 << 16):
            if at_start and line.startswith(leaving):
                word = line[:40].split()[0].decode(errors="replace")
                raise BrokenBackup(
                    "restore",
                    f"it holds {word}, which would write to a database other than the scratch one; "
                    "it was not restored (dump one database, without --create, --databases or pg_dumpall)",
                )
            at_start = line.endswith(b"\n")


@asynccontextmanager
async def _unpacked(path: Path) -> AsyncIterator[str]:
    """Yield the path of the decompressed backup: the backup itself when it is not compressed."""

    def unpack(folder: str) -> str:
        if path.is_dir():
            return str(path)
        with open_dump(path, time.monotonic() + 24 * 3600) as (stream, compression):
            if compression is None:
                return str(path)
            target = Path(folder) / "backup"
            with target.open("wb") as file:
                while data := stream.read():
                    file.write(data)
            return str(target)

    with tempfile.TemporaryDirectory(prefix="backup-restore-") as folder:
        yield await Worker().run(lambda: unpack(folder))


async def _run(command: list[str], environ: Mapping[str, str], given: object = b"") -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if isinstance(given, bytes) else given,  # type: ignore[arg-type]
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environ),
    )
    try:
        out, err = await process.communicate(given if isinstance(given, bytes) else None)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = err.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        # mariadb repeats the statement before it says what is wrong.
        first = redact(next((line for line in lines if "ERROR" in line), lines[0]))
        raise BrokenBackup("restore", f"{Path(command[0]).name} says: {first}")
    return out.decode(errors="replace")


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise BrokenBackup("restore", f"the program {names[0]}, which restores it, is not installed here")


def _postgres_environ(server: URL) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    query = {name: value for name, value in server.query.items() if isinstance(value, str)}
    settings = {
        "PGHOST": server.host or query.get("host"),
        "PGPORT": str(server.port) if server.port else query.get("port"),
        "PGUSER": server.username,
        "PGPASSWORD": server.password,
        "PGSSLMODE": query.get("sslmode"),
        "PGSSLROOTCERT": query.get("sslrootcert"),
        "PGCONNECT_TIMEOUT": "10",
    }
    return {**environ, **{name: value for name, value in settings.items() if value is not None}}
