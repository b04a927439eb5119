"""Row-level security: PostgreSQL itself confines a transaction to one tenant, whatever SQL it sends.

It is the second wall behind `TenantSqlService`. The policy goes into a migration, over the table as it is in that
revision and not over the model, which changes later:

    invoices = sa.table("invoices", sa.column("tenant_id", sa.String(64)))

    def upgrade() -> None:
        for statement in tenant_policy(invoices):
            op.execute(statement)

    def downgrade() -> None:
        for statement in drop_tenant_policy(invoices):
            op.execute(statement)

and each session names its tenant before it works:

    async with database.session() as session:
        await bind_tenant(session, "acme")

A transaction that names none sees and writes no row. Superusers and roles with BYPASSRLS are never confined
(PostgreSQL manual, "Row Security Policies"), so the service must connect as neither; the table's owner is confined too,
by FORCE ROW LEVEL SECURITY. Foreign keys are checked past every policy, so that hand-written SQL may still name another
tenant's row by one; a key that includes the tenant's column may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, TableClause, bindparam, event, func, inspect, select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session, SessionTransaction
from sqlalchemy.sql.expression import ColumnClause

from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, UnknownField

__all__ = ["TENANT_SETTING", "bind_tenant", "drop_tenant_policy", "tenant_policy"]

TENANT_SETTING = "app.tenant_id"
"""The setting of the transaction that the policy reads."""

_POLICY = "tenant_isolation"
_DIALECT: Dialect = PGDialect()  # type: ignore[no-untyped-call]
_BOUND = "svc_infra_tenant"


def tenant_policy(
    model: type | TableClause, *, tenant_field: str = "tenant_id", setting: str = TENANT_SETTING, policy: str = _POLICY
) -> list[str]:
    """The statements that confine a table's rows to the tenant of the transaction, for reads and writes.

    Args:
        model: The mapped class, its table, or a `sqlalchemy.table` with the tenant's column.
        tenant_field: The field that holds the tenant.
        setting: The setting that holds the transaction's tenant.
        policy: Name of the policy.

    Raises:
        UnknownField: When there is no such field.

    >>> from sqlalchemy import Column, Integer, MetaData, Table
    >>> for statement in tenant_policy(Table("notes", MetaData(), Column("tenant_id", Integer))):
    ...     print(statement)
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY
    ALTER TABLE notes FORCE ROW LEVEL SECURITY
    CREATE POLICY tenant_isolation ON notes USING (tenant_id = NULLIF(current_setting('app.tenant_id', true), \
'')::INTEGER) WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::INTEGER)
    """
    table = _table(model)
    column = _column(model, table, tenant_field)
    dialect: Dialect = _DIALECT
    prepare = dialect.identifier_preparer
    name, kind = prepare.format_table(table), column.type.compile(dialect=dialect)
    # A setting that was set in an earlier transaction of the connection reads as '' and not as NULL.
    tenant = f"NULLIF(current_setting('{_plain(setting)}', true), '')::{kind}"
    condition = f"{prepare.quote(column.name)} = {tenant}"
    return [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {prepare.quote(policy)} ON {name} USING ({condition}) WITH CHECK ({condition})",
    ]


def drop_tenant_policy(model: type | TableClause, *, policy: str = _POLICY) -> list[str]:
    """The statements that undo `tenant_policy`.

    Args:
        model: The mapped class, its table, or a `sqlalchemy.table`.
        policy: Name of the policy.
    """
    prepare = _DIALECT.identifier_preparer
    name = prepare.format_table(_table(model))
    return [
        f"DROP POLICY {prepare.quote(policy)} ON {name}",
        f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
    ]


async def bind_tenant(session: AsyncSession, tenant_id: object, *, setting: str = TENANT_SETTING) -> None:
    """Confine the session to a tenant: each of its transactions begins with the setting, and so does the present one.

    The setting ends with the transaction (`SET LOCAL`), so a connection goes back to the pool, or to another client
    of a pooler, without it. It costs one statement per transaction.

    Args:
        session: A session on PostgreSQL.
        tenant_id: The tenant, written as text into the setting; binding another one replaces it.
        setting: The setting that the policy reads.

    Raises:
        InvalidValue: When the tenant is None or empty.
        InvalidQuery: When the database is not PostgreSQL.
    """
    if tenant_id is None or str(tenant_id) == "":
        raise InvalidValue("the session can't be bound to no tenant; give the tenant's id")
    sync_session = session.sync_session
    name = sync_session.get_bind().dialect.name
    if name != "postgresql":
        raise InvalidQuery(f"row-level security needs PostgreSQL, and the session is on {name}")
    bound: dict[str, str] | None = sync_session.info.get(_BOUND)
    if bound is None:
        bound = sync_session.info[_BOUND] = {}
        event.listen(sync_session, "after_begin", _sets(bound))
    bound[setting] = str(tenant_id)
    if session.in_transaction():
        await session.run_sync(lambda sync: _set(sync.connection(), {setting: str(tenant_id)}))


def _sets(bound: dict[str, str]) -> Callable[[Session, SessionTransaction, Connection], None]:
    def begun(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
        _set(connection, bound)

    return begun


_SET = select(func.set_config(bindparam("name"), bindparam("value"), True))


def _set(connection: Connection, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        connection.execute(_SET, {"name": name, "value": value})


def _table(model: type | TableClause) -> TableClause:
    if isinstance(model, TableClause):
        return model
    mapper: object = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper) or not isinstance(mapper.local_table, TableClause):
        raise TypeError(f"{model!r} is neither a mapped class nor a table")
    return mapper.local_table


def _column(model: type | TableClause, table: TableClause, name: str) -> ColumnClause[Any]:
    columns = table.columns if isinstance(model, TableClause) else inspect(model).columns
    if name not in columns:
        raise UnknownField(f"{table.name} has no {name!r}; the fields are {', '.join(sorted(columns.keys()))}")
    return columns[name]


def _plain(setting: str) -> str:
    if not setting.replace(".", "").replace("_", "").isalnum() or "." not in setting:
        raise InvalidQuery(f"{setting!r} is no name of a custom setting; such names look like app.tenant_id")
    return setting
