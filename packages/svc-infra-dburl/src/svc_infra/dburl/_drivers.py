"""Which driver serves a database, by what the URL and the environment ask for and by what is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple

from svc_infra.dburl._database_url import Dialect, Mode
from svc_infra.dburl.errors import MissingDriver, UnknownDriver

__all__ = ["Driver", "choose_driver", "drivers_of", "install_command", "is_driver", "is_installed"]


class Driver(NamedTuple):
    """A driver of a database.

    Attributes:
        name: As in ``dialect+name``; empty where the plain scheme names the driver.
        modes: Whether it serves async engines, sync engines or both.
        modules: Any of these modules, when importable, is the driver.
        install: What to install, as pip takes it.
        counterpart: The driver that serves the other mode with the same options.
        checked: Whether a URL that names it is refused when it is not installed. Not so for the drivers that need more
            than pip: there only connecting tells.
    """

    name: str
    modes: tuple[Mode, ...]
    modules: tuple[str, ...]
    install: str
    counterpart: str | None = None
    checked: bool = True


_ASYNC: tuple[Mode, ...] = ("async",)
_SYNC: tuple[Mode, ...] = ("sync",)
_BOTH: tuple[Mode, ...] = ("async", "sync")

_POSTGRESQL = (
    Driver("asyncpg", _ASYNC, ("asyncpg",), "svc-infra-sql[postgres]"),
    Driver("psycopg", _BOTH, ("psycopg",), "svc-infra-sql[psycopg]"),
    Driver("psycopg2", _SYNC, ("psycopg2",), "psycopg2-binary", checked=False),
    Driver("psycopg2cffi", _SYNC, ("psycopg2cffi",), "psycopg2cffi", checked=False),
    Driver("pg8000", _SYNC, ("pg8000",), "pg8000", checked=False),
)
_MYSQL = (
    Driver("asyncmy", _ASYNC, ("asyncmy",), "svc-infra-sql[mysql]"),
    Driver("aiomysql", _ASYNC, ("aiomysql",), "svc-infra-sql[aiomysql]"),
    Driver("pymysql", _SYNC, ("pymysql",), "pymysql", checked=False),
    Driver("mysqldb", _SYNC, ("MySQLdb",), "mysqlclient", checked=False),
    Driver("mysqlconnector", _SYNC, ("mysql.connector",), "mysql-connector-python", checked=False),
    Driver("mariadbconnector", _SYNC, ("mariadb",), "mariadb", checked=False),
)

# In order of preference; a Python with several of them installed gets the first that serves the mode.
_DRIVERS: dict[Dialect, tuple[Driver, ...]] = {
    "postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": (
        Driver("aiosqlite", _ASYNC, ("aiosqlite",), "svc-infra-sql[sqlite]"),
        Driver("", _SYNC, ("sqlite3",), "a Python with sqlite3"),
        Driver("pysqlite", _SYNC, ("sqlite3",), "a Python with sqlite3"),
    ),
    "mssql": (
        Driver("mssqlpython", _BOTH, ("mssql_python",), "svc-infra-sql[mssql]"),
        Driver("aioodbc", _ASYNC, ("aioodbc",), "svc-infra-sql[aioodbc]", "pyodbc", checked=False),
        Driver("pyodbc", _SYNC, ("pyodbc",), "pyodbc", "aioodbc", checked=False),
        Driver("pymssql", _SYNC, ("pymssql",), "pymssql", checked=False),
    ),
    "snowflake": (Driver("", _BOTH, ("snowflake.sqlalchemy",), "svc-infra-sql[snowflake]"),),
    "duckdb": (Driver("", _BOTH, ("duckdb_sqlalchemy", "duckdb_engine"), "svc-infra-sql[duckdb]"),),
}
_BY_NAME: dict[Dialect, dict[str, Driver]] = {
    dialect: {driver.name: driver for driver in drivers} for dialect, drivers in _DRIVERS.items()
}
_BY_NAME["postgresql"]["psycopg_async"] = _BY_NAME["postgresql"]["psycopg"]


@lru_cache(maxsize=64)
def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it. The answer holds for the life of the process."""
    if module in sys.modules:
        return True
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def drivers_of(dialect: Dialect) -> dict[str, Driver]:
    """The drivers of a database by name."""
    return _BY_NAME[dialect]


def is_driver(name: str | None) -> bool:
    """Whether any database has a driver of that name."""
    return any(name in drivers for drivers in _BY_NAME.values())


def install_command(driver: Driver) -> str:
    """The pip command that installs the driver."""
    return f"pip install '{driver.install}'"


def choose_driver(
    dialect: Dialect, wanted: str | None, mode: Mode, place: str, installed: Callable[[str], bool] = is_installed
) -> Driver:
    """Choose the driver: the one wanted if it serves the mode, its counterpart otherwise, else the first one installed.

    Args:
        dialect: The database.
        wanted: The driver that the URL or a variable names, or None.
        mode: Whether an async or a sync engine is to use it.
        place: Who names it, for the error.
        installed: Tells whether a module is installed.

    Raises:
        UnknownDriver: The database has no such driver.
        MissingDriver: The driver, or each one that would do, is not installed.
    """
    if wanted is not None:
        driver = _BY_NAME[dialect].get(wanted)
        if driver is None:
            names = ", ".join(name or dialect for name in _BY_NAME[dialect])
            raise UnknownDriver(
                place,
                f"names a driver that {dialect} does not have",
                f"Its drivers are {names}; without one, the best that is installed is taken",
            )
        if mode not in driver.modes and driver.counterpart is not None:
            driver = _BY_NAME[dialect][driver.counterpart]
        if mode in driver.modes:
            if driver.checked:
                require_driver(driver, dialect, place, installed)
            return driver
    candidates = [driver for driver in _DRIVERS[dialect] if mode in driver.modes]
    for driver in candidates:
        if any(map(installed, driver.modules)) and (driver.name != "mssqlpython" or _has_mssqlpython_dialect()):
            return driver
    raise MissingDriver(
        place,
        f"is a URL for {dialect}, and no {mode} driver of it is installed",
        " or ".join(["Run " + install_command(candidates[0]), *map(install_command, candidates[1:2])]),
    )


def require_driver(
    driver: Driver, dialect: Dialect, place: str, installed: Callable[[str], bool] = is_installed
) -> None:
    """Raise unless the driver is installed.

    Raises:
        MissingDriver: It is not; the message has the command that installs it.
    """
    if not any(map(installed, driver.modules)):
        name = f"{dialect}+{driver.name}" if driver.name else dialect
        raise MissingDriver(
            place, f"needs the driver of {name}://, which is not installed", f"Run {install_command(driver)}"
        )


@lru_cache(maxsize=1)
def _has_mssqlpython_dialect() -> bool:
    # New in SQLAlchemy 2.1.
    return is_installed("sqlalchemy.dialects.mssql.mssqlpython")
