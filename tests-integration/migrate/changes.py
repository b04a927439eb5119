"""The kinds of change that a model can go through, each with a table of its own before and after."""

from __future__ import annotations

import enum
from collections.abc import Callable

import sqlalchemy as sa

from svc_infra.db.sql.live_unique import live_unique

__all__ = ["CHANGES", "build"]

CHANGES: dict[str, Callable[[sa.MetaData, bool, str], None]] = {}
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def build(after: bool, dialect: str, *, without: str | None = None) -> sa.MetaData:
    """Return the models before or after all changes, or all but one."""
    metadata = sa.MetaData(naming_convention=NAMING)
    for name, change in CHANGES.items():
        if name != without:
            change(metadata, after, dialect)
    return metadata


def change(function: Callable[[sa.MetaData, bool, str], None]) -> Callable[[sa.MetaData, bool, str], None]:
    CHANGES[function.__name__] = function
    return function


def table(metadata: sa.MetaData, name: str, *items: sa.Column[object] | sa.Constraint | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *items)


@change
def table_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    if after:
        table(m, "table_added", sa.Column("name", sa.String(20), nullable=False))


@change
def table_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    if not after:
        table(m, "table_dropped", sa.Column("name", sa.String(20), index=True))


@change
def column_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "column_added", *([sa.Column("name", sa.String(20))] if after else []))


@change
def column_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "column_dropped", *([] if after else [sa.Column("name", sa.String(20))]))


@change
def type_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "type_changed", sa.Column("n", sa.BigInteger if after else sa.Integer))


@change
def length_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "length_changed", sa.Column("name", sa.String(50 if after else 20)))


@change
def numeric_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "numeric_changed", sa.Column("price", sa.Numeric(12, 4) if after else sa.Numeric(10, 2)))


@change
def null_forbidden(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "null_forbidden", sa.Column("name", sa.String(20), nullable=not after))


@change
def null_allowed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "null_allowed", sa.Column("name", sa.String(20), nullable=after))


@change
def default_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "default_added", sa.Column("n", sa.Integer, server_default="7" if after else None))


@change
def default_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "default_changed", sa.Column("name", sa.String(20), server_default="new" if after else "old"))


@change
def default_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "default_dropped", sa.Column("n", sa.Integer, server_default=None if after else "7"))


@change
def default_now(m: sa.MetaData, after: bool, dialect: str) -> None:
    """Nothing changes; a comparison by text reports a difference on MariaDB."""
    zero = sa.Column("price", sa.Numeric(10, 2), server_default="0", nullable=False)
    flag = sa.Column("flag", sa.Boolean, server_default=sa.false(), nullable=False)
    moment = sa.Column("at", sa.DateTime, server_default=sa.func.current_timestamp())
    table(m, "default_now", zero, flag, moment, sa.Column("data", sa.JSON))


@change
def index_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "index_added", sa.Column("name", sa.String(20), index=after or None))


@change
def index_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "index_dropped", sa.Column("name", sa.String(20), index=None if after else True))


@change
def index_columns(m: sa.MetaData, after: bool, dialect: str) -> None:
    columns = sa.Column("a", sa.Integer), sa.Column("b", sa.Integer)
    table(m, "index_columns", *columns, sa.Index("ix_index_columns", "a", *(["b"] if after else [])))


@change
def index_expression(m: sa.MetaData, after: bool, dialect: str) -> None:
    """MariaDB has no expression indexes."""
    t = table(m, "index_expression", sa.Column("name", sa.String(20)))
    if dialect != "mysql":
        sa.Index("ix_index_expression", sa.func.upper(t.c.name) if after else sa.func.lower(t.c.name))
        sa.Index("ix_index_expression_same", sa.func.lower(t.c.name + "x"))


@change
def index_predicate(m: sa.MetaData, after: bool, dialect: str) -> None:
    """MariaDB has no partial indexes."""
    t = table(m, "index_predicate", sa.Column("n", sa.Integer))
    if dialect != "mysql":
        where = t.c.n > (10 if after else 5)
        sa.Index("ix_index_predicate", t.c.n, postgresql_where=where, sqlite_where=where)
        same = t.c.n.in_([1, 2])
        sa.Index("ix_index_predicate_same", t.c.n, postgresql_where=same, sqlite_where=same)


@change
def unique_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "unique_added", sa.Column("name", sa.String(20), unique=after or None))


@change
def unique_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "unique_dropped", sa.Column("name", sa.String(20), unique=None if after else True))


@change
def foreign_key_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "parent_added")
    table(m, "foreign_key_added", sa.Column("p", sa.Integer, *([sa.ForeignKey("parent_added.id")] if after else [])))


@change
def foreign_key_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "parent_dropped")
    table(
        m,
        "foreign_key_dropped",
        sa.Column("p", sa.Integer, *([] if after else [sa.ForeignKey("parent_dropped.id")]), index=True),
    )


@change
def foreign_key_rule(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "parent_rule")
    key = sa.ForeignKey("parent_rule.id", ondelete="CASCADE" if after else "SET NULL")
    table(m, "foreign_key_rule", sa.Column("p", sa.Integer, key))


@change
def check_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(
        m, "check_added", sa.Column("n", sa.Integer), *([sa.CheckConstraint("n > 0", name="positive")] if after else [])
    )


@change
def check_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(
        m,
        "check_dropped",
        sa.Column("n", sa.Integer),
        *([] if after else [sa.CheckConstraint("n > 0", name="positive")]),
    )


@change
def check_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    same = sa.CheckConstraint("n IN (1, 2) OR n BETWEEN 5 AND 9", name="same")
    table(m, "check_changed", sa.Column("n", sa.Integer), sa.CheckConstraint(f"n > {int(after)}", name="bound"), same)


class Before(enum.Enum):
    red = "red"
    green = "green"


class After(enum.Enum):
    red = "red"
    amber = "amber"
    green = "green"


@change
def enum_value_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(
        m,
        "enum_value_added",
        sa.Column("light", sa.Enum(After if after else Before, name="light"), server_default="red"),
    )


@change
def enum_value_removed(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(
        m,
        "enum_value_removed",
        sa.Column("lamp", sa.Enum(Before if after else After, name="lamp"), server_default="red"),
    )


@change
def enum_column_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    table(m, "enum_column_added", *([sa.Column("signal", sa.Enum(Before, name="signal"))] if after else []))


@change
def enum_as_text(m: sa.MetaData, after: bool, dialect: str) -> None:
    kind = sa.Enum(After if after else Before, native_enum=False, create_constraint=True, name="kind", length=10)
    table(m, "enum_as_text", sa.Column("kind", kind))


@change
def computed_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    total = sa.Computed(f"n * {3 if after else 2}", persisted=True)
    same = sa.Computed("n + 1", persisted=True)
    table(
        m,
        "computed_changed",
        sa.Column("n", sa.Integer),
        sa.Column("total", sa.Integer, total),
        sa.Column("next", sa.Integer, same),
    )


@change
def primary_key_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    sa.Table(
        "primary_key_changed",
        m,
        sa.Column("a", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("b", sa.Integer, primary_key=after, autoincrement=False, nullable=False),
    )


@change
def comment_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    """SQLite has no comments."""
    note = "new" if after else "old"
    sa.Table("comment_changed", m, sa.Column("id", sa.Integer, primary_key=True, comment=note), comment=note)


def live(m: sa.MetaData, name: str, *keys: sa.Index) -> None:
    table(m, name, sa.Column("a", sa.Integer), sa.Column("b", sa.Integer), sa.Column("deleted_at", sa.DateTime), *keys)


@change
def live_unique_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    live(m, "live_unique_added", *([live_unique("a")] if after else []))


@change
def live_unique_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    live(m, "live_unique_dropped", *([] if after else [live_unique("a")]))


@change
def live_unique_columns(m: sa.MetaData, after: bool, dialect: str) -> None:
    live(m, "live_unique_columns", live_unique("a", *(["b"] if after else []), name="ix_live_unique_columns"))


@change
def live_unique_same(m: sa.MetaData, after: bool, dialect: str) -> None:
    live(m, "live_unique_same", live_unique("a", "b"))


def numbered(m: sa.MetaData, name: str, dialect: str, sequence: sa.Sequence | None) -> None:
    """On MariaDB the client asks for the number: SQLAlchemy does not reflect a default that does."""
    default = sequence.next_value() if sequence is not None and dialect == "postgresql" else None
    table(m, name, sa.Column("n", sa.BigInteger, server_default=default))


@change
def sequence_added(m: sa.MetaData, after: bool, dialect: str) -> None:
    """SQLite has no sequences."""
    exists = after and dialect != "sqlite"
    numbered(m, "sequence_added", dialect, sa.Sequence("counter_added", start=100, metadata=m) if exists else None)


@change
def sequence_dropped(m: sa.MetaData, after: bool, dialect: str) -> None:
    """SQLite has no sequences."""
    exists = not after and dialect != "sqlite"
    numbered(m, "sequence_dropped", dialect, sa.Sequence("counter_dropped", metadata=m) if exists else None)


@change
def sequence_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    """SQLite has no sequences."""
    if dialect != "sqlite":
        numbered(
            m, "sequence_changed", dialect, sa.Sequence("counter_changed", increment=5 if after else 2, metadata=m)
        )
        numbered(m, "sequence_same", dialect, sa.Sequence("counter_same", start=7, cache=20, metadata=m))


@change
def identity_changed(m: sa.MetaData, after: bool, dialect: str) -> None:
    """Of the databases here only PostgreSQL has identity columns with options."""
    identity = [sa.Identity(increment=2 if after else 1)] if dialect == "postgresql" else []
    sa.Table("identity_changed", m, sa.Column("id", sa.Integer, *identity, primary_key=True))


@change
def unique_columns(m: sa.MetaData, after: bool, dialect: str) -> None:
    columns = sa.Column("a", sa.Integer), sa.Column("b", sa.Integer)
    table(m, "unique_columns", *columns, sa.UniqueConstraint("a", *(["b"] if after else []), name="uq_pair"))


@change
def plain_to_computed(m: sa.MetaData, after: bool, dialect: str) -> None:
    total = [sa.Computed("n * 2", persisted=True)] if after else []
    table(m, "plain_to_computed", sa.Column("n", sa.Integer), sa.Column("total", sa.Integer, *total))
