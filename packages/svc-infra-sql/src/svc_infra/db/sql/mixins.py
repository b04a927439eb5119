"""The usual columns of a model, to be mixed in beside `ModelBase`."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import DateTime, String, Uuid
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from svc_infra.db.sql.types import utc_now
from svc_infra.db.sql.uuid7 import uuid7

__all__ = ["SoftDelete", "Tenant", "Timestamps", "UuidKey", "Versioned"]


def _moment() -> DateTime:
    """A moment to the microsecond; MySQL's own type would drop the fractions of a second."""
    return DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")


class UuidKey:
    """`id`: a UUID of version 7 as primary key, ordered by time and made in Python.

    >>> from svc_infra.db.sql.base import ModelBase
    >>> class Note(UuidKey, Timestamps, SoftDelete, Tenant, Versioned, ModelBase):
    ...     __tablename__ = "doctest_notes"
    >>> list(Note.__table__.columns.keys())
    ['id', 'created_at', 'updated_at', 'deleted_at', 'tenant_id', 'version']
    """

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid7, sort_order=-100)


class Timestamps:
    """`created_at` and `updated_at`: the database's time of the insert and of the last update, with time zone."""

    created_at: Mapped[dt.datetime] = mapped_column(_moment(), server_default=utc_now(), sort_order=100)
    updated_at: Mapped[dt.datetime] = mapped_column(
        _moment(), server_default=utc_now(), onupdate=utc_now(), sort_order=101
    )


class SoftDelete:
    """`deleted_at`: the time of a soft delete, NULL in live rows."""

    deleted_at: Mapped[dt.datetime | None] = mapped_column(_moment(), sort_order=102)


class Tenant:
    """`tenant_id`: the tenant that a row belongs to, text of at most 64 characters, indexed."""

    @declared_attr
    def tenant_id(cls) -> Mapped[str]:  # noqa: N805 (SQLAlchemy's declared_attr)
        """The tenant."""
        return mapped_column(String(64), index=True, sort_order=103)


class Versioned:
    """`version`: counts the updates of a row from 1, for optimistic locking by the ORM and by `SqlRepository`."""

    version: Mapped[int] = mapped_column(default=1, sort_order=104)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:  # noqa: N805
        """The ORM's own check of the version."""
        table = cls.__table__  # type: ignore[attr-defined]
        return {"version_id_col": table.c.version}
