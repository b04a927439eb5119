"""Column types that mean the same on every database, where SQLAlchemy's own depend on what the database can store."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Numeric, func
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["ExactDecimal", "UtcDateTime", "utc_now"]

#: Databases whose date and time have no zone; they store UTC.
_WITHOUT_ZONES = frozenset({"mariadb", "mysql", "sqlite"})


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware date and time, to the microsecond; read in UTC on every database.

    A naive value is refused, as nobody knows which moment it means.

    Example:
        >>> from sqlalchemy import Column, MetaData, Table
        >>> events = Table("events", MetaData(), Column("at", UtcDateTime))
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's type; MySQL's own would drop the fractions of a second."""
        if dialect.name in ("mariadb", "mysql"):
            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Bring a value into UTC.

        Raises:
            ValueError: When it is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone, so it does not say which moment it means")
        moment = value.astimezone(dt.UTC)
        return moment.replace(tzinfo=None) if dialect.name in _WITHOUT_ZONES else moment

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class utc_now(FunctionElement[dt.datetime]):  # noqa: N801 (a function of SQL, as in sqlalchemy.func)
    """The database's present time, for a column's default: its `now()`, and MySQL's in UTC with microseconds.

    MySQL's and MariaDB's `now()` is of the session's time zone and of whole seconds, and their dates keep no zone.

    Example:
        >>> from sqlalchemy import select
        >>> from sqlalchemy.dialects import mysql, postgresql
        >>> print(select(utc_now()).compile(dialect=postgresql.dialect()))
        SELECT now() AS utc_now_1
        >>> print(select(utc_now()).compile(dialect=mysql.dialect()))
        SELECT (utc_timestamp(6)) AS utc_now_1
    """

    type: DateTime = DateTime(timezone=True)
    name = "utc_now"
    inherit_cache: bool | None = True


@compiles(utc_now)
def _utc_now(_element: utc_now, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.now(), **options)


@compiles(utc_now, "mysql", "mariadb")
def _utc_now_of_mysql(_element: utc_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(utc_timestamp(6))"


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal number that keeps all its digits, also in SQLite, which has floats only.

    SQLite stores it as a whole number of the smallest unit: it is compared, ordered, added up and indexed exactly, but
    a product of two columns is not scaled. Digits beyond the scale are rounded half up, as PostgreSQL does.

    Args:
        precision: Digits in all; at most 18 on SQLite, the size of its integers.
        scale: Digits behind the point.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Numeric
    cache_ok: bool | None = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(self.precision, self.scale))

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> Any:
        """Turn a value into what the database stores.

        Raises:
            ValueError: When it has more digits than `precision`, on SQLite.
        """
        if value is None or dialect.name != "sqlite":
            return value
        units = int(Decimal(value).scaleb(self.scale).to_integral_value(ROUND_HALF_UP))
        if abs(units) >= 10 ** min(self.precision, 18):
            raise ValueError(
                f"{value!r} has more digits than {min(self.precision, 18)}, of them {self.scale} behind the point"
            )
        return units

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the number with all digits of its scale."""
        if value is None or dialect.name != "sqlite":
            return None if value is None else Decimal(value)
        return Decimal(int(value)).scaleb(-self.scale)
