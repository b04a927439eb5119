"""The guide's models: users, which several examples share, and the accounts of the transfer."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Column, DateTime, Integer, String
from sqlalchemy.dialects import mysql

from svc_infra.db.sql.base import ModelBase

# MySQL's DATETIME keeps whole seconds unless it is told otherwise, and users made within one would have no order.
Moment = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class User(ModelBase):
    __tablename__ = "users"

    id = Column(String(64), primary_key=True, default=lambda: str(uuid4()))
    email = Column(String(200), unique=True)
    name = Column(String(200))
    password_hash = Column(String(200))
    tenant_id = Column(String(64), index=True)
    created_at = Column(Moment, default=lambda: datetime.now(UTC))
    deleted_at = Column(Moment)


class Account(ModelBase):
    __tablename__ = "accounts"

    id = Column(String(64), primary_key=True)
    balance = Column(Integer, nullable=False)
