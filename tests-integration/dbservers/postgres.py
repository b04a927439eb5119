"""PostgreSQL: plain, with TLS, and a primary with a streaming replica."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from dbservers.certificates import Certificates
from dbservers.containers import Container, engine_answers
from dbservers.errors import ServerFailed
from dbservers.postgres_instance import ADMIN, PostgresInstance, find_programs, system_programs, version_of
from dbservers.process import run
from dbservers.server import Server, new_name, with_database
from dbservers.workspace import Workspace

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "PostgresReplica",
    "PostgresServer",
    "PostgresTlsServer",
    "open_postgres",
    "own_postgres",
    "own_postgres_replica",
    "own_postgres_tls",
]

IMAGE = "postgres:18-alpine"
APP = "svc_infra_test"
# No part of the user name, so that tests can look for it in messages.
APP_PASSWORD = "pw5f2c81d90b3e"

# Nothing here survives a power failure, everything survives SIGKILL: a commit waits for its WAL to be in the kernel.
FAST: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
}


@dataclass
class PostgresServer(Server):
    """A PostgreSQL server on which every test gets a database of its own.

    Databases belong to the role ``svc_infra_test``, which is not a superuser (row-level security doesn't bind one) but
    may create databases. Where the server comes from the environment and its user may not create roles, that user owns
    them.

    Attributes:
        app_user: The owner of the databases.
        app_password: Its password, the same in every run, because workers and runs may share a server.
        socket_folder: Where the Unix socket is, for a server that the run started.
    """

    app_user: str = APP
    app_password: str = APP_PASSWORD
    socket_folder: Path | None = None

    def create_database(self) -> str:
        """Create an empty database and return the URL of its owner."""
        from psycopg import sql

        name = new_name()
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(self.app_user))
            )
        return self.app_url(name)

    def app_url(self, database: str) -> str:
        """Return the owner's URL of *database*, without a driver name."""
        parts = urlsplit(with_database(self.url, database))
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{self.app_user}:{self.app_password}@{host}").geturl()

    def admin_url(self, url: str) -> str:
        """Return the superuser's URL of the database that *url* names."""
        return with_database(self.url, urlsplit(url).path.lstrip("/"))

    def drop_database(self, url: str) -> None:
        """Drop the database that *url* names, ending what is still connected to it."""
        from psycopg import sql

        name = sql.Identifier(urlsplit(url).path.lstrip("/"))
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def connect(self, database: str | None = None) -> psycopg.Connection:
        """Connect as administrator, in autocommit. Use it in a ``with`` block."""
        import psycopg

        url = with_database(self.url, database) if database else self.url
        return psycopg.connect(url, autocommit=True, connect_timeout=30)

    def make_app_role(self) -> None:
        """Create the owners' role, or use the administrator when that isn't allowed."""
        import psycopg
        from psycopg import sql

        parts = urlsplit(self.url)
        try:
            with self.connect() as connection, connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtext('dbservers'))")
                known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [self.app_user]).fetchone()
                verb = "ALTER" if known is not None else "CREATE"
                connection.execute(
                    sql.SQL(verb + " ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                        sql.Identifier(self.app_user), sql.Literal(self.app_password)
                    )
                )
                # CREATE DATABASE ... OWNER needs membership when the administrator is no superuser.
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(self.app_user)))
        except psycopg.errors.InsufficientPrivilege:
            self.app_user, self.app_password = parts.username or "", parts.password or ""


@dataclass
class PostgresTlsServer(PostgresServer):
    """A PostgreSQL server that refuses connections without TLS.

    ``certuser`` logs in by the client certificate alone.
    """

    certificates: Certificates = field(kw_only=True)


ServerT = TypeVar("ServerT", bound=PostgresServer)


@contextmanager
def open_postgres(workspace: Workspace, environ: Mapping[str, str] = os.environ) -> Iterator[PostgresServer]:
    """Give a PostgreSQL server from ``TEST_POSTGRES_URL``, a container, the wheel or the system, in this order."""
    if url := environ.get("TEST_POSTGRES_URL"):
        yield _described(PostgresServer(re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url), "", "environment"))
    elif engine_answers():
        password = secrets.token_hex(6)
        with Container(IMAGE, 5432, {"POSTGRES_PASSWORD": password}, ["-c", "fsync=off"]) as container:
            address = f"postgresql://{ADMIN}:{password}@{container.host}:{container.port}/postgres?sslmode=disable"
            container.wait_until(lambda: version_of(address))
            yield _described(PostgresServer(address, "", "container"))
    else:
        with own_postgres(workspace) as server:
            yield server


@contextmanager
def own_postgres(workspace: Workspace, settings: Mapping[str, str] = FAST) -> Iterator[PostgresServer]:
    """Start a PostgreSQL server that the test may kill, from the wheel or the system's programs.

    Args:
        workspace: Where it lives.
        settings: Server parameters; `FAST` by default.
    """
    programs, origin = find_programs(workspace)
    instance = PostgresInstance(workspace, programs, settings)
    instance.create()
    with instance.running() as process:
        server = PostgresServer(instance.url("disable"), "", origin, process, socket_folder=instance.folder)
        yield _described(server)


@contextmanager
def own_postgres_tls(workspace: Workspace, settings: Mapping[str, str] = FAST) -> Iterator[PostgresTlsServer]:
    """Start a PostgreSQL server with TLS from the system's programs: the wheel's are built without OpenSSL."""
    certificates = Certificates.make(workspace)
    instance = PostgresInstance(
        workspace,
        system_programs(),
        {
            **settings,
            "ssl": "on",
            "ssl_ca_file": str(certificates.ca_path),
            "ssl_cert_file": str(certificates.certificate_path),
            "ssl_key_file": str(certificates.key_path),
        },
    )
    instance.create(
        access=[
            "hostssl all certuser all cert",
            "hostssl all all all scram-sha-256",
            "hostnossl all all all reject",
            "local all all scram-sha-256",
        ]
    )
    with instance.running(sslmode="require") as process:
        server = PostgresTlsServer(
            instance.url("require", certificates.host_name),
            "",
            "system",
            process,
            socket_folder=instance.folder,
            certificates=certificates,
        )
        described = _described(server)
        with described.connect() as connection:
            connection.execute("CREATE ROLE certuser LOGIN")
        yield described


@dataclass
class PostgresReplica(Server):
    """A primary and a streaming replica of it, both of which the test may kill and start.

    Attributes:
        primary: Takes writes.
        replica: Read only; `Server.kill` and `Server.start` work on each of the two.
    """

    primary: PostgresServer = field(kw_only=True)
    replica: PostgresServer = field(kw_only=True)

    def start(self) -> None:
        """Start whichever of the two doesn't run, and let the replica replay."""
        self.primary.start()
        self.replica.start()
        self.resume_replay()

    def create_database(self) -> tuple[str, str]:
        """Create an empty database and return its URL on the primary and, when it is there, on the replica."""
        url = self.primary.create_database()
        self.wait_until_caught_up()
        return url, self.replica.app_url(urlsplit(url).path.lstrip("/"))

    def drop_database(self, url: str) -> None:
        """Drop it on the primary; the replica follows and ends its connections."""
        self.primary.drop_database(url)

    def wait_until_caught_up(self, *, timeout_seconds: float = 60.0) -> None:
        """Wait until the replica has replayed what the primary has written by now.

        Raises:
            ServerFailed: Not in time.
        """
        with self.primary.connect() as connection:
            target = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert target is not None
        deadline = time.monotonic() + timeout_seconds
        with self.replica.connect() as connection:
            while time.monotonic() < deadline:
                row = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", target).fetchone()
                if row is not None and row[0]:
                    return
                time.sleep(0.02)
        raise ServerFailed(f"the replica has not replayed {target[0]} after {timeout_seconds:g} s")

    def pause_replay(self) -> None:
        """Let the replica fall behind: it receives and doesn't apply."""
        with self.replica.connect() as connection:
            connection.execute("SELECT pg_wal_replay_pause()")

    def resume_replay(self) -> None:
        """Let it catch up again."""
        with self.replica.connect() as connection:
            connection.execute("SELECT pg_wal_replay_resume()")


@contextmanager
def own_postgres_replica(workspace: Workspace, settings: Mapping[str, str] = FAST) -> Iterator[PostgresReplica]:
    """Start a primary and a replica that streams from it."""
    with own_postgres(workspace, {**settings, "wal_level": "replica", "hot_standby": "on"}) as primary:
        programs, origin = find_programs(workspace)
        copy = PostgresInstance(workspace, programs, settings, password=urlsplit(primary.url).password)
        # The password stands in the connection string that -R writes, as the replica has no password file.
        source = f"host={primary.host} port={primary.port} user={ADMIN} password={copy.password} sslmode=disable"
        run(
            workspace,
            [
                str(programs / "pg_basebackup"),
                "-D",
                str(copy.data),
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "-N",
                "-d",
                source,
            ],
        )
        copy.configure()
        with copy.running() as process:
            replica = PostgresServer(copy.url("disable"), primary.version, origin, process)
            replica.app_user, replica.app_password = primary.app_user, primary.app_password
            yield PostgresReplica(primary.url, primary.version, origin, primary=primary, replica=replica)


def _described(server: ServerT) -> ServerT:
    server.version = version_of(server.url)
    server.make_app_role()
    return server
