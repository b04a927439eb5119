"""Sequences of their own, which Alembic does not compare: created before the tables, dropped after them.

The counters behind SERIAL, IDENTITY and AUTO_INCREMENT belong to their columns and are left to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.autogenerate import renderers
from alembic.operations import ops
from alembic.util import PriorityDispatchResult, to_list
from sqlalchemy import Connection, Dialect, MetaData, Sequence, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSequence

from svc_infra.db.sql.core.autogenerate.filters import Filters

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = [
    "AlterSequenceOp",
    "CreateSequenceOp",
    "DropSequenceOp",
    "SequenceOptions",
    "compare_sequences",
    "existing_sequences",
]

_TWIN = "svc_infra_twin_sequence"
_POSTGRESQL = (
    "SELECT s.seqrelid::regclass::text, s.seqtypid::regtype::text, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,"
    " s.seqcache, s.seqcycle, EXISTS (SELECT FROM pg_depend d WHERE d.objid = s.seqrelid"
    " AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))"
    " FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid"
)
_MARIADB = "SELECT start_value, increment, minimum_value, maximum_value, cache_size, cycle_option FROM {name}"


@dataclass(frozen=True)
class SequenceOptions:
    """A sequence as the database keeps it; `data_type` is empty on MariaDB, whose sequences have none."""

    data_type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cache: int
    cycles: bool

    def clauses(self) -> str:
        """Write the options as CREATE and ALTER SEQUENCE take them."""
        kind = f"AS {self.data_type} " if self.data_type else ""
        cycle = "CYCLE" if self.cycles else "NO CYCLE" if self.data_type else "NOCYCLE"
        return (
            f"{kind}INCREMENT BY {self.increment} MINVALUE {self.minimum} MAXVALUE {self.maximum} "
            f"START WITH {self.start} CACHE {self.cache} {cycle}"
        )


class CreateSequenceOp(ops.MigrateOperation):
    """Create a sequence."""

    def __init__(self, name: str, options: SequenceOptions) -> None:
        self.name: str = name
        self.options: SequenceOptions = options

    def reverse(self) -> DropSequenceOp:
        """Return the operation that drops it."""
        return DropSequenceOp(self.name, self.options)


class DropSequenceOp(ops.MigrateOperation):
    """Drop a sequence, and with it the number that it has come to."""

    def __init__(self, name: str, options: SequenceOptions) -> None:
        self.name: str = name
        self.options: SequenceOptions = options

    def reverse(self) -> CreateSequenceOp:
        """Return the operation that creates it again."""
        return CreateSequenceOp(self.name, self.options)


class AlterSequenceOp(ops.MigrateOperation):
    """Give a sequence other options; the number that it has come to stays."""

    def __init__(self, name: str, options: SequenceOptions, old: SequenceOptions) -> None:
        self.name: str = name
        self.options: SequenceOptions = options
        self.old: SequenceOptions = old

    def reverse(self) -> AlterSequenceOp:
        """Return the change back."""
        return AlterSequenceOp(self.name, self.old, self.options)


def compare_sequences(
    context: AutogenContext, operations: ops.UpgradeOps, _schemas: Iterable[str | None]
) -> PriorityDispatchResult:
    """Compare the sequences of the models with those of the database; runs after the tables are compared."""
    connection, filters = context.connection, context.opts.get("filters")
    if connection is None or not has_sequences(connection) or not isinstance(filters, Filters):
        return PriorityDispatchResult.CONTINUE
    existing = dict(existing_sequences(connection))
    wanted = dict(_wanted(context))
    before: list[ops.MigrateOperation] = []
    for name, sequence in wanted.items():
        options = _as_the_database_keeps(connection, sequence)
        if options is None:
            filters.uncompared.append(f"sequence {name}")
        elif name not in existing:
            before.append(CreateSequenceOp(name, options))
        elif existing[name][0] != options:
            before.append(AlterSequenceOp(name, options, existing[name][0]))
    operations.ops[:0] = before
    for name, (options, belongs_to_column) in existing.items():
        if name not in wanted and not belongs_to_column and filters.drops_sequence(name):
            operations.ops.append(DropSequenceOp(name, options))
    return PriorityDispatchResult.CONTINUE


def has_sequences(connection: Connection) -> bool:
    """Tell whether the sequences of a database are compared: those of PostgreSQL and MariaDB."""
    dialect = connection.dialect
    return dialect.name in {"postgresql", "mysql", "mariadb"} and dialect.supports_sequences


def _wanted(context: AutogenContext) -> Iterator[tuple[str, Sequence]]:
    for metadata in to_list(context.metadata):
        if isinstance(metadata, MetaData):
            for sequence in metadata._sequences.values():  # noqa: SLF001  there is no public list of them
                if not sequence.optional:
                    yield _name(sequence, context.dialect), sequence


def _name(sequence: Sequence, dialect: Dialect) -> str:
    preparer = dialect.identifier_preparer
    name = preparer.quote(sequence.name)
    is_default = sequence.schema is None or sequence.schema == dialect.default_schema_name
    return name if is_default else f"{preparer.quote_schema(str(sequence.schema))}.{name}"


def existing_sequences(connection: Connection) -> Iterator[tuple[str, tuple[SequenceOptions, bool]]]:
    """Yield each sequence's name, its options, and whether it belongs to a column."""
    if connection.dialect.name == "postgresql":
        for name, *options, belongs_to_column in connection.exec_driver_sql(f"{_POSTGRESQL} WHERE c.relkind = 'S'"):
            yield name, (SequenceOptions(*options), belongs_to_column)
        return
    names = connection.exec_driver_sql(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = database() AND table_type = 'SEQUENCE' ORDER BY 1"
    )
    for plain in names.scalars().all():
        name = connection.dialect.identifier_preparer.quote(plain)
        yield name, (_of_mariadb(connection, name), False)


def _of_mariadb(connection: Connection, name: str) -> SequenceOptions:
    row = connection.exec_driver_sql(_MARIADB.format(name=name)).one()
    start, increment, minimum, maximum, cache = map(int, row[:5])
    return SequenceOptions("", start, increment, minimum, maximum, cache, cycles=bool(row[5]))


def _as_the_database_keeps(connection: Connection, sequence: Sequence) -> SequenceOptions | None:
    """Create the sequence as a temporary one and read it back; None when the database refuses it."""
    ddl = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]
    statement = str(ddl.process(CreateSequence(sequence)))
    statement = statement.replace(f"CREATE SEQUENCE {ddl.preparer.format_sequence(sequence)}", "", 1)
    create = f"CREATE TEMPORARY SEQUENCE {_TWIN}{statement}"
    if connection.dialect.name == "postgresql":
        return _read_back(connection, create)
    try:
        connection.exec_driver_sql(create)  # MariaDB commits here, so that a savepoint would be of no use
        return _of_mariadb(connection, _TWIN)
    except SQLAlchemyError:
        return None
    finally:
        connection.exec_driver_sql(f"DROP TEMPORARY SEQUENCE IF EXISTS {_TWIN}")


def _read_back(connection: Connection, create: str) -> SequenceOptions | None:
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(create)
        row = connection.execute(text(f"{_POSTGRESQL} WHERE s.seqrelid = to_regclass('{_TWIN}')")).one()
        return SequenceOptions(*row[1:-1])
    except SQLAlchemyError:
        return None
    finally:
        savepoint.rollback()


def _execute(context: AutogenContext, sql: str) -> str:
    return f"{context.opts.get('alembic_module_prefix') or 'op.'}execute({sql!r})"


@renderers.dispatch_for(CreateSequenceOp)
def _render_create(context: AutogenContext, operation: CreateSequenceOp) -> str:
    return _execute(context, f"CREATE SEQUENCE {operation.name} {operation.options.clauses()}")


@renderers.dispatch_for(DropSequenceOp)
def _render_drop(context: AutogenContext, operation: DropSequenceOp) -> str:
    return _execute(context, f"DROP SEQUENCE {operation.name}")


@renderers.dispatch_for(AlterSequenceOp)
def _render_alter(context: AutogenContext, operation: AlterSequenceOp) -> str:
    return _execute(context, f"ALTER SEQUENCE {operation.name} {operation.options.clauses()}")
