"""The programs that come with a database and copy it: pg_dump, mysqldump and their counterparts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.errors import MigrationError

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

__all__ = ["ClientPrograms"]

_LONGEST_SECONDS = 24 * 3600
_PACKAGES = {"postgresql": "postgresql-client", "mysql": "mariadb-client", "mariadb": "mariadb-client"}
# https://www.postgresql.org/docs/current/libpq-envars.html
_LIBPQ = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


class ClientPrograms:
    """Runs programs on one database.

    The password goes by the environment, which only the same user can read; arguments everybody sees.

    Args:
        target: The database.
        environ: Where PATH is read from, and what the programs get beside the database's variables.
    """

    def __init__(self, target: ResolvedUrl, environ: Mapping[str, str]) -> None:
        self._target, self._environ = target, environ

    def dump_postgresql(self, path: Path) -> None:
        """Write the database in `pg_dump`'s custom format."""
        self._run([self._find("pg_dump"), "--format=custom", "--no-owner", f"--file={path}"])

    def restore_postgresql(self, path: Path) -> None:
        """Replace the objects that the dump has, in one transaction."""
        self._run(
            [
                self._find("pg_restore"),
                "--clean",
                "--if-exists",
                "--no-owner",
                "--single-transaction",
                "--exit-on-error",
                f"--dbname={self._target.url.database}",
                str(path),
            ]
        )

    def dump_mysql(self, path: Path) -> None:
        """Write the database as SQL."""
        program = self._find("mariadb-dump", "mysqldump")
        options = ["--single-transaction", "--routines", "--hex-blob", "--no-tablespaces", f"--result-file={path}"]
        self._run([program, *self._mysql_options(program), *options, str(self._target.url.database)])

    def restore_mysql(self, path: Path) -> None:
        """Run the SQL of a dump."""
        program = self._find("mariadb", "mysql")
        with path.open("rb") as stream:
            self._run([program, *self._mysql_options(program), str(self._target.url.database)], stdin=stream.fileno())

    def _find(self, *names: str) -> str:
        for name in names:
            if found := shutil.which(name, path=self._environ.get("PATH", "")):
                return found
        raise MigrationError(
            f"{' or '.join(names)} is not installed here, or not on PATH; it comes with the database's client programs "
            f"(Debian: apt-get install {_PACKAGES[self._target.dialect]}), in a version not older than the server's"
        )

    def _mysql_options(self, program: str) -> list[str]:
        target, options = self._target, self._target.options
        found = [f"--user={target.url.username or ''}"]
        if target.socket:
            found.append(f"--socket={target.socket}")
        else:
            found += [f"--host={target.url.host or 'localhost'}", f"--port={target.url.port or 3306}"]
            found.append("--protocol=tcp")
        mode = options.get("ssl_mode", "disabled").lower()
        if "mariadb" in Path(program).name:
            found.append("--skip-ssl" if mode == "disabled" else "--ssl")
            if mode.startswith("verify"):
                found.append("--ssl-verify-server-cert")
        else:
            found.append(f"--ssl-mode={mode.upper()}")
        files = {"ssl_ca": "--ssl-ca", "ssl_cert": "--ssl-cert", "ssl_key": "--ssl-key"}
        return found + [f"{option}={options[name]}" for name, option in files.items() if name in options]

    def _run(self, command: Sequence[str], stdin: int | None = None) -> None:
        target = self._target
        password = target.password() if target.password is not None else str(target.url.password or "")
        hosts = target.hosts
        environ = {
            **self._environ,
            "PGPASSWORD": password,
            "MYSQL_PWD": password,
            "PGHOST": target.socket or ",".join(host for host, _ in hosts),
            "PGPORT": ",".join(str(port or 5432) for _, port in hosts) if hosts else str(target.url.port or 5432),
            "PGUSER": target.url.username or "",
            "PGDATABASE": target.url.database or "",
            **{variable: target.options[name] for name, variable in _LIBPQ.items() if name in target.options},
        }
        done = subprocess.run(  # noqa: S603
            command,
            env=environ,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            name = Path(command[0]).name
            raise MigrationError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
