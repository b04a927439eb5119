"""Renames, which look like a drop and an addition, and lose the data when they are treated as such."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.autogenerate import renderers
from alembic.operations import ops
from sqlalchemy import Dialect

from svc_infra.db.sql.core.errors import RevisionError

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["Rename", "apply_renames", "find_renames"]


@dataclass(frozen=True)
class Rename:
    """A table or column that may have another name now.

    Attributes:
        old: "users" or "users.name", with the schema in front where there is one.
        new: The new name alone.
    """

    old: str
    new: str

    def __str__(self) -> str:
        """Write as the command line takes it."""
        return f"{self.old}:{self.new}"


class RenameColumnOp(ops.AlterColumnOp):
    """Rename a column; unlike Alembic's operation it knows its way back."""

    def reverse(self) -> RenameColumnOp:
        """Return the renaming back."""
        return RenameColumnOp(
            self.table_name,
            str(self.modify_name),
            schema=self.schema,
            modify_name=self.column_name,
            existing_type=self.existing_type,
            existing_nullable=self.existing_nullable,
        )


class RenameTable(ops.RenameTableOp):
    """Rename a table; unlike Alembic's operation it can be written into a revision."""

    def reverse(self) -> RenameTable:
        """Return the renaming back."""
        return RenameTable(self.new_table_name, self.table_name, schema=self.schema)


@renderers.dispatch_for(RenameTable)
def _render_rename(context: AutogenContext, operation: RenameTable) -> str:
    prefix = context.opts.get("alembic_module_prefix") or "op."
    schema = f", schema={operation.schema!r}" if operation.schema else ""
    return f"{prefix}rename_table({operation.table_name!r}, {operation.new_table_name!r}{schema})"


def find_renames(operations: ops.OpContainer, dialect: Dialect) -> list[Rename]:
    """Return the pairs of a drop and an addition that may be a rename.

    That are columns of one type, and tables of the same columns.
    """
    found: list[Rename] = []
    created = [item for item in operations.ops if isinstance(item, ops.CreateTableOp)]
    for dropped in operations.ops:
        if isinstance(dropped, ops.DropTableOp):
            columns = _shape_of_table(dropped.to_table().columns, dialect)
            for item in created:
                if item.schema == dropped.schema and _shape_of_table(item.to_table().columns, dialect) == columns:
                    found.append(Rename(_full(dropped.table_name, dropped.schema), item.table_name))
                    created.remove(item)
                    break
    for group in _groups(operations):
        added = [item for item in group.ops if isinstance(item, ops.AddColumnOp) and item.column.computed is None]
        for operation in group.ops:
            if isinstance(operation, ops.DropColumnOp):
                old_type = operation.to_column().type.compile(dialect)
                match = next((item for item in added if item.column.type.compile(dialect) == old_type), None)
                if match is not None and match.column.name != operation.column_name:
                    name = f"{_full(group.table_name, group.schema)}.{operation.column_name}"
                    found.append(Rename(name, str(match.column.name)))
                    added.remove(match)
    return found


def apply_renames(operations: ops.UpgradeOps, renames: Sequence[Rename]) -> None:
    """Put a rename in the place of each pair of a drop and an addition.

    Raises:
        RevisionError: A rename names something that is not dropped, or not added.
    """
    for rename in renames:
        table = _rename_table(operations, rename)
        if not table and not _rename_column(operations, rename):
            raise RevisionError(
                f"{rename} is no rename here: the models must no longer have {rename.old}, have {rename.new} instead, "
                "and the database the other way round"
            )


def parse_renames(renames: Mapping[str, str]) -> list[Rename]:
    """Make renames of old and new names."""
    return [Rename(old, new.rpartition(".")[2]) for old, new in renames.items()]


def _rename_table(operations: ops.UpgradeOps, rename: Rename) -> bool:
    dropped = next(
        (
            item
            for item in operations.ops
            if isinstance(item, ops.DropTableOp) and _full(item.table_name, item.schema) == rename.old
        ),
        None,
    )
    created = next(
        (item for item in operations.ops if isinstance(item, ops.CreateTableOp) and item.table_name == rename.new), None
    )
    if dropped is None or created is None:
        return False
    place = operations.ops.index(created)
    operations.ops[place] = RenameTable(dropped.table_name, rename.new, schema=dropped.schema)
    operations.ops.remove(dropped)
    # The indexes that go with the dropped table and come with the created one move with the rename.
    for group in list(_groups(operations)):
        if group.table_name in {dropped.table_name, rename.new} and group.schema == dropped.schema:
            operations.ops.remove(group)
    return True


def _rename_column(operations: ops.UpgradeOps, rename: Rename) -> bool:
    for group in _groups(operations):
        table = _full(group.table_name, group.schema)
        dropped = next(
            (
                item
                for item in group.ops
                if isinstance(item, ops.DropColumnOp) and f"{table}.{item.column_name}" == rename.old
            ),
            None,
        )
        added = next(
            (item for item in group.ops if isinstance(item, ops.AddColumnOp) and item.column.name == rename.new), None
        )
        if dropped is None or added is None:
            continue
        old = dropped.to_column()
        group.ops.remove(dropped)
        group.ops.remove(added)
        renaming = RenameColumnOp(
            group.table_name,
            str(old.name),
            schema=group.schema,
            modify_name=rename.new,
            existing_type=old.type,
            existing_nullable=old.nullable,
        )
        # In groups of their own, so that a batch on SQLite knows the new name before indexes ask for it, and so that
        # the way back, in reverse order, drops and adds by the name that the column has at that time.
        place = operations.ops.index(group)
        operations.ops.insert(place, ops.ModifyTableOps(group.table_name, [renaming], schema=group.schema))
        drops = [item for item in group.ops if isinstance(item, (ops.DropIndexOp, ops.DropConstraintOp))]
        if drops:
            operations.ops.insert(place, ops.ModifyTableOps(group.table_name, drops, schema=group.schema))
            for item in drops:
                group.ops.remove(item)
        if bool(old.nullable) != bool(added.column.nullable):
            change = ops.AlterColumnOp(
                group.table_name,
                rename.new,
                schema=group.schema,
                existing_type=old.type,
                existing_nullable=old.nullable,
                modify_nullable=added.column.nullable,
            )
            group.ops.insert(0, change)
        if group.is_empty():
            operations.ops.remove(group)
        return True
    return False


def _groups(operations: ops.OpContainer) -> Iterator[ops.ModifyTableOps]:
    yield from [item for item in operations.ops if isinstance(item, ops.ModifyTableOps)]


def _shape_of_table(columns: object, dialect: Dialect) -> list[tuple[str, str]]:
    return [(column.name, column.type.compile(dialect)) for column in columns]  # type: ignore[attr-defined]


def _full(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name
