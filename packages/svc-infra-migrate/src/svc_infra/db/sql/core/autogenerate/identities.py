"""Identity columns, whose changes Alembic finds and writes so that PostgreSQL refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.autogenerate import renderers
from alembic.operations import ops
from sqlalchemy import Identity

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["render_alter_column"]

_alembic_renders = renderers.dispatch(ops.AlterColumnOp("table", "column"))


@renderers.dispatch_for(ops.AlterColumnOp, replace=True)
def render_alter_column(context: AutogenContext, operation: ops.AlterColumnOp) -> str:
    """Write the identity that is there beside the one that is wanted.

    Without it PostgreSQL is told to ADD a second identity, or to drop a default that is none; Alembic 1.20 writes what
    is there only where nothing else takes its place.
    """
    text = str(_alembic_renders(context, operation))
    existing = operation.existing_server_default
    if operation.modify_server_default is False or not isinstance(existing, Identity):
        return text
    shown = ops.AlterColumnOp("t", "c", existing_server_default=existing)
    _, _, rendered = str(_alembic_renders(context, shown)).partition("existing_server_default=")
    return f"{text[:-1]}, existing_server_default={rendered}"
