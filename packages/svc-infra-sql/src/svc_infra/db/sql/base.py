"""The declarative base whose tables Alembic can migrate, because every constraint has a name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

__all__ = ["NAMING_CONVENTION", "ModelBase"]

# Every column of a constraint is in its name: two unique constraints that begin with the same column must not collide.
NAMING_CONVENTION: Mapping[str, str] = MappingProxyType(
    {
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""How an index or constraint without a name of its own is called; longer names are cut as the database demands."""


class ModelBase(DeclarativeBase):
    """Base class of the models: one registry and one `metadata`, which migrations and table creation read.

    Columns are declared in either of SQLAlchemy's styles, `Column` or `Mapped`:

    >>> from sqlalchemy import Column, String
    >>> class Planet(ModelBase):
    ...     __tablename__ = "doctest_planets"
    ...     id = Column(String, primary_key=True)
    ...     name = Column(String, unique=True)
    >>> sorted(str(constraint.name) for constraint in Planet.__table__.constraints)
    ['pk_doctest_planets', 'uq_doctest_planets_name']
    """

    metadata: ClassVar[MetaData] = MetaData(naming_convention=dict(NAMING_CONVENTION))
