"""PgBouncer in transaction mode, in front of a PostgreSQL server."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from dbservers.postgres import PostgresServer
from dbservers.process import ServerProcess
from dbservers.programs import find_program
from dbservers.server import Server, with_address
from dbservers.workspace import Workspace

__all__ = ["PgBouncer", "own_pgbouncer"]


@dataclass
class PgBouncer(Server):
    """A pooler that hands a server connection over at every transaction's end.

    Attributes:
        postgres: The server behind it.
        pool_size: How many server connections it opens for a database.
    """

    postgres: PostgresServer = field(kw_only=True)
    pool_size: int = 5

    def through(self, url: str) -> str:
        """Return *url*, of a database of `postgres`, with the pooler's address."""
        return with_address(url, self.host, self.port)


@contextmanager
def own_pgbouncer(workspace: Workspace, postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Start a PgBouncer in front of *postgres*, from the system's program."""
    program = find_program("pgbouncer", package="pgbouncer")
    folder = workspace.folder("pb")
    admin_password = secrets.token_hex(6)
    server = urlsplit(postgres.url)
    # With the passwords in plain text it can answer SCRAM on both sides ("auth_file" in pgbouncer.ini(5)).
    users = {
        postgres.app_user: postgres.app_password,
        unquote(server.username or ""): unquote(server.password or ""),
        "pooler": admin_password,
    }
    auth = workspace.write(folder / "users", "".join(f'"{user}" "{password}"\n' for user, password in users.items()))
    size = PgBouncer.pool_size

    def command(port: int) -> list[str]:
        settings = f"""
[databases]
* = host={server.hostname} port={server.port or 5432}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {auth}
admin_users = pooler
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
query_wait_timeout = 20
server_idle_timeout = 5
ignore_startup_parameters = extra_float_digits
"""
        return [str(program), str(workspace.write(folder / "pgbouncer.ini", settings))]

    def url(port: int) -> str:
        return f"postgresql://pooler:{admin_password}@127.0.0.1:{port}/pgbouncer?sslmode=disable"

    process = ServerProcess(
        workspace,
        folder,
        command,
        lambda port: _version(url(port)),
        # SIGTERM means at once to PgBouncer before 1.23 and waits for clients since; SIGQUIT always means at once.
        stop_signal=signal.SIGQUIT,
    )
    process.start()
    try:
        yield PgBouncer(url(process.port), _version(url(process.port)), "system", process, postgres=postgres)
    finally:
        process.discard()


def _version(url: str) -> str:
    import psycopg

    # The console knows the simple protocol only.
    with (
        psycopg.connect(url, autocommit=True, connect_timeout=30) as connection,
        psycopg.ClientCursor(connection) as cursor,
    ):
        row = cursor.execute("SHOW VERSION").fetchone()
    return str(row[0]).removeprefix("PgBouncer ") if row else ""
