"""MySQL and MariaDB, plain and with TLS."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from dbservers.certificates import Certificates
from dbservers.containers import Container, engine_answers
from dbservers.process import ServerProcess, run
from dbservers.programs import find_program
from dbservers.server import Server, new_name, with_database
from dbservers.workspace import Workspace

__all__ = ["MysqlServer", "MysqlTlsServer", "open_mysql", "own_mysql", "own_mysql_tls"]

IMAGE = "mariadb:11.8"
ADMIN = "dbservers"
APP = "svc_infra_test"
# No part of the user name, so that tests can look for it in messages.
APP_PASSWORD = "pw5f2c81d90b3e"

# What is written reaches the kernel, not the disk: it survives SIGKILL, not a power failure. DDL alone has ten syncs.
FAST: Mapping[str, str] = {
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-doublewrite": "OFF",
    "innodb-buffer-pool-size": "64M",
    "innodb-flush-method": "nosync",
    "loose-debug-no-sync": "ON",
}


@dataclass
class MysqlServer(Server):
    """A MySQL or MariaDB server on which every test gets a database of its own.

    Databases belong to the user ``svc_infra_test``, which has all rights on databases named as `new_name` does and none
    on others.

    Attributes:
        app_user: The owner of the databases.
        app_password: Its password, the same in every run, because workers and runs may share a server.
    """

    app_user: str = APP
    app_password: str = APP_PASSWORD

    def create_database(self) -> str:
        """Create an empty database in utf8mb4 and return the URL of its owner."""
        name = new_name()
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        parts = urlsplit(with_database(self.url, name))
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{self.app_user}:{self.app_password}@{host}").geturl()

    def drop_database(self, url: str) -> None:
        """Drop the database that *url* names, ending what is still connected to it."""
        import pymysql

        name = urlsplit(url).path.lstrip("/")
        for (connection_id,) in self.execute("SELECT id FROM information_schema.processlist WHERE db = %s", name):
            try:
                self.execute(f"KILL {connection_id}")
            except pymysql.err.OperationalError as error:
                if error.args[0] != 1094:  # ER_NO_SUCH_THREAD: it has ended meanwhile
                    raise
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def execute(self, statement: str, *arguments: object) -> list[tuple[object, ...]]:
        """Run one statement as administrator and return its rows."""
        return _execute(self.url, statement, *arguments)

    def make_app_user(self) -> None:
        """Create the owner of databases."""
        self.execute(f"CREATE USER IF NOT EXISTS '{self.app_user}'@'%%' IDENTIFIED BY %s", self.app_password)
        self.execute(f"GRANT ALL ON `t\\_%%`.* TO '{self.app_user}'@'%%'")


@dataclass
class MysqlTlsServer(MysqlServer):
    """A MariaDB server that refuses TCP connections without TLS."""

    certificates: Certificates = field(kw_only=True)


ServerT = TypeVar("ServerT", bound=MysqlServer)


@contextmanager
def open_mysql(workspace: Workspace, environ: Mapping[str, str] = os.environ) -> Iterator[MysqlServer]:
    """Give a server from ``TEST_MYSQL_URL``, a container or the system's MariaDB, in this order."""
    if url := environ.get("TEST_MYSQL_URL"):
        yield _described(MysqlServer(re.sub(r"^(mysql|mariadb)(\+\w+)?:", "mysql:", url), "", "environment"))
    elif engine_answers():
        password = secrets.token_hex(6)
        with Container(IMAGE, 3306, {"MARIADB_ROOT_PASSWORD": password, "MARIADB_ROOT_HOST": "%"}) as container:
            address = f"mysql://root:{password}@{container.host}:{container.port}/mysql"
            container.wait_until(lambda: _execute(address, "SELECT 1"))
            yield _described(MysqlServer(address, "", "container"))
    else:
        with own_mysql(workspace) as server:
            yield server


@contextmanager
def own_mysql(workspace: Workspace, settings: Mapping[str, str] = FAST) -> Iterator[MysqlServer]:
    """Start a MariaDB server that the test may kill, from the system's programs.

    Args:
        workspace: Where it lives.
        settings: Options of mariadbd without their dashes; `FAST` by default.
    """
    with _running(workspace, settings) as (process, password):
        address = f"mysql://{ADMIN}:{password}@127.0.0.1:{process.port}/mysql"
        yield _described(MysqlServer(address, "", "system", process))


@contextmanager
def own_mysql_tls(workspace: Workspace, settings: Mapping[str, str] = FAST) -> Iterator[MysqlTlsServer]:
    """Start a MariaDB server with TLS from the system's programs."""
    certificates = Certificates.make(workspace)
    tls = {
        "ssl-ca": str(certificates.ca_path),
        "ssl-cert": str(certificates.certificate_path),
        "ssl-key": str(certificates.key_path),
        "require-secure-transport": "ON",
    }
    with _running(workspace, {**settings, **tls}) as (process, password):
        address = f"mysql://{ADMIN}:{password}@{certificates.host_name}:{process.port}/mysql"
        yield _described(MysqlTlsServer(address, "", "system", process, certificates=certificates))


@contextmanager
def _running(workspace: Workspace, settings: Mapping[str, str]) -> Iterator[tuple[ServerProcess, str]]:
    """Run mariadbd until the end of the block; gives the process and the administrator's password."""
    server = find_program("mariadbd", "mysqld", package="mariadb-server")
    install = find_program("mariadb-install-db", "mysql_install_db", package="mariadb-server")
    folder = workspace.folder("my")
    password = secrets.token_hex(6)
    run(
        workspace,
        [
            *(
                str(install),
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                "--skip-test-db",
                "--innodb-log-file-size=8M",
            ),
            "--auth-root-authentication-method=normal",
        ],
    )
    # Run at each start, before the server listens.
    users = workspace.write(
        folder / "users.sql",
        f"CREATE USER IF NOT EXISTS '{ADMIN}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n",
    )

    def command(port: int) -> list[str]:
        options = {
            "datadir": str(folder / "data"),
            "socket": str(folder / "sock"),
            "pid-file": str(folder / "pid"),
            "bind-address": "127.0.0.1",
            "port": str(port),
            "init-file": str(users),
            "tmpdir": str(folder),
            "innodb-log-file-size": "8M",
            "character-set-server": "utf8mb4",
            **settings,
        }
        return [str(server), "--no-defaults", "--skip-name-resolve", *(f"--{k}={v}" for k, v in options.items())]

    process = ServerProcess(
        workspace,
        folder,
        command,
        lambda port: _execute(f"mysql://{ADMIN}:{password}@127.0.0.1:{port}/mysql", "SELECT 1"),
    )
    process.start()
    try:
        yield process, password
    finally:
        process.discard()


def _execute(url: str, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/") or None,
        connect_timeout=30,
        read_timeout=30,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())


def _described(server: ServerT) -> ServerT:
    server.version = str(server.execute("SELECT VERSION()")[0][0])
    server.make_app_user()
    return server
