"""Tries a resolved URL out, step by step, and says for the step that fails what to do."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from svc_infra.dburl._probes import ProbeFailed, open_socket, open_tls, resolve_hosts
from svc_infra.dburl._remedies import remedy_for
from svc_infra.dburl.engine import prepare_engine
from svc_infra.dburl.errors import DatabaseUrlError
from svc_infra.dburl.redaction import MASK, redact
from svc_infra.dburl.resolved import ResolvedUrl
from svc_infra.dburl.tls import TlsContext

__all__ = ["Step", "check_url"]

T = TypeVar("T")

_VERSION_STATEMENTS = {
    "sqlite": "SELECT sqlite_version()",
    "mssql": "SELECT @@VERSION",
    "snowflake": "SELECT current_version()",
}
# Their async engines need svc-infra-sql; the sync ones reach the same database.
_SYNC_DIALECTS = frozenset({"sqlite", "duckdb", "mssql", "snowflake"})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: driver, files, file, dns, tcp, tls, login or version.
        ok: Whether it went well; None if there was nothing to try.
        milliseconds: How long it took.
        detail: What was found, without secrets.
        remedy: What to do when it failed, else empty.
    """

    name: str
    ok: bool | None
    milliseconds: float
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def check_url(
    resolved: ResolvedUrl, *, timeout: float = 10.0, clock: Callable[[], float] = time.perf_counter
) -> list[Step]:
    """Check the driver and files, resolve the name, open TCP and TLS, log in and ask for the version.

    Not to be called where an event loop runs.

    Args:
        resolved: The URL.
        timeout: Seconds that each step may take.
        clock: Measures the steps.

    Returns:
        The steps in order; the last one is the first that failed, if any did.
    """
    return list(_Check(resolved, timeout, clock).steps())


class _Check:
    def __init__(self, resolved: ResolvedUrl, timeout: float, clock: Callable[[], float]) -> None:
        self.resolved = resolved
        self.timeout = timeout
        self.clock = clock
        self.is_new = False
        self.version = ""

    def steps(self) -> Iterator[Step]:
        for name, attempt in self._plan():
            start = self.clock()
            ok: bool | None = True
            remedy = ""
            try:
                detail = _bounded(attempt, self.timeout)
                if detail is None:
                    ok, detail = None, "nothing to try"
            except Exception as error:  # noqa: BLE001 (whatever goes wrong is the finding)
                ok = False
                detail, remedy = self._tell(name, error)
            yield Step(name, ok, round((self.clock() - start) * 1000, 1), detail, remedy)
            if ok is False:
                return

    def _plan(self) -> Iterator[tuple[str, Callable[[], str | None]]]:
        yield "driver", self._driver
        if self.resolved.dialect in {"sqlite", "duckdb"}:
            yield "file", self._file
        else:
            yield "files", self._files
            yield "dns", self._dns
            yield "tcp", self._tcp
            yield "tls", self._tls
        if self.is_new:
            # Looking at it would create it.
            return
        yield "login", self._login
        yield "version", lambda: self.version

    def _driver(self) -> str:
        self.resolved.require_driver()
        return f"{self.resolved.driver} is installed"

    def _files(self) -> str | None:
        found = [repr(value) for value in self.resolved.connect_args.values() if _readable(value)]
        if self.resolved.password is not None:
            self.resolved.password()
            found.append(repr(self.resolved.password))
        return f"read: {', '.join(found)}" if found else None

    def _file(self) -> str:
        name = self.resolved.url.database or ":memory:"
        if name == ":memory:" or name.startswith(("file:", "md:")):
            return "in memory" if name == ":memory:" else "not a plain file"
        path = Path(name)
        folder = path.absolute().parent
        if path.is_dir():
            raise ProbeFailed(f"{path} is a folder", "Write the path of a file")
        if not folder.is_dir():
            raise ProbeFailed(
                f"the folder {folder} does not exist",
                "Create the folder; a relative path counts from the working folder",
            )
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise ProbeFailed(
                f"{path} can't be written",
                "Give this user leave to write the file and its folder, or open it with ?mode=ro&uri=true",
            )
        self.is_new = not path.exists()
        return (
            f"{path.absolute()}, {path.stat().st_size:,} bytes"
            if path.exists()
            else f"{path.absolute()}, will be created"
        )

    def _dns(self) -> str | None:
        return resolve_hosts(self.resolved)

    def _tcp(self) -> str | None:
        return open_socket(self.resolved, self.timeout)

    def _tls(self) -> str | None:
        return open_tls(self.resolved, self.timeout)

    def _login(self) -> str:
        resolved = self.resolved
        if resolved.mode == "async" and resolved.dialect in _SYNC_DIALECTS:
            resolved = resolved.with_mode("sync")
        self.version = _connect_async(resolved) if resolved.mode == "async" else _connect(resolved)
        return (
            f"as {resolved.url.username or 'the default user'}"
            if resolved.dialect not in {"sqlite", "duckdb"}
            else "opened"
        )

    def _tell(self, name: str, error: Exception) -> tuple[str, str]:
        if isinstance(error, ProbeFailed):
            return self._hide(error.problem), error.remedy
        if isinstance(error, DatabaseUrlError):
            return f"{error.place}: {error.problem}", error.remedy
        if isinstance(error, TimeoutError):
            detail = f"no answer within {self.timeout:g} seconds"
        else:
            origin = getattr(error, "orig", None) or error
            detail = f"{type(origin).__name__}: {origin}".strip().splitlines()[0]
        return self._hide(detail), remedy_for(name, error, self.resolved)

    def _hide(self, text: str) -> str:
        password = self.resolved.url.password
        if password:
            text = text.replace(str(password), MASK)
        return redact(text)


def _readable(value: object) -> bool:
    if isinstance(value, TlsContext):
        value.require_files()
        return bool(value.cafile or value.certfile)
    return False


def _bounded(function: Callable[[], T], timeout: float) -> T:
    """Run in a thread of its own, because neither the resolver nor every driver can be given a limit."""
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except Exception as error:  # noqa: BLE001 (handed to the caller)
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _statement(resolved: ResolvedUrl) -> str:
    return _VERSION_STATEMENTS.get(resolved.dialect, "SELECT version()")


def _connect(resolved: ResolvedUrl) -> str:
    engine = create_engine(resolved.url, connect_args=resolved.connect_args, poolclass=NullPool)
    prepare_engine(engine, resolved)
    try:
        with engine.connect() as connection:
            return str(connection.exec_driver_sql(_statement(resolved)).scalar())
    finally:
        engine.dispose()


def _connect_async(resolved: ResolvedUrl) -> str:
    from sqlalchemy.ext.asyncio import create_async_engine

    async def connect() -> str:
        engine = create_async_engine(resolved.url, connect_args=resolved.connect_args, poolclass=NullPool)
        prepare_engine(engine, resolved)
        try:
            async with engine.connect() as connection:
                return str((await connection.exec_driver_sql(_statement(resolved))).scalar())
        finally:
            await engine.dispose()

    return asyncio.run(connect())
