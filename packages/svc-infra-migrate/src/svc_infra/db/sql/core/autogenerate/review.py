"""What stands between a comparison and the file that is written: renames are found, and losses need permission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.autogenerate.guard import losses
from svc_infra.db.sql.core.autogenerate.mysql import leave_indexes_to_their_tables
from svc_infra.db.sql.core.autogenerate.naming import name_constraints
from svc_infra.db.sql.core.autogenerate.renames import apply_renames, find_renames, parse_renames
from svc_infra.db.sql.core.errors import Refused

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from sqlalchemy import Dialect

__all__ = ["review"]


def review(
    scripts: Sequence[MigrationScript],
    dialect: Dialect,
    *,
    allow_drops: bool,
    renames: Mapping[str, str],
    ask: Callable[[str], bool] | None,
) -> None:
    """Turn drops and additions into renames, and refuse what loses data.

    Args:
        scripts: What is about to be written; changed in place.
        dialect: The database's dialect.
        allow_drops: Write operations that lose data.
        renames: What has another name now.
        ask: Answers a question with yes or no; None answers no.

    Raises:
        Refused: An operation loses data, and neither `allow_drops` nor an answer allows it.
    """
    for script in scripts:
        operations = script.upgrade_ops_list[0]
        apply_renames(operations, parse_renames(renames))
        possible = find_renames(operations, dialect)
        if ask is not None:
            agreed = [rename for rename in possible if ask(f"Was {rename.old} renamed to {rename.new}?")]
            apply_renames(operations, agreed)
            possible = [rename for rename in possible if rename not in agreed]
        lost = list(losses(operations))
        if lost and not allow_drops and not (ask is not None and ask(_question(lost))):
            raise Refused(_refusal(lost, [str(rename) for rename in possible]))
        name_constraints(operations, dialect)
        operations.reverse_into(script.downgrade_ops_list[0])
        if dialect.name in {"mysql", "mariadb"}:
            for container in (operations, script.downgrade_ops_list[0]):
                leave_indexes_to_their_tables(container)


def _question(lost: Sequence[str]) -> str:
    return "These operations lose data:\n  " + "\n  ".join(lost) + "\nWrite them?"


def _refusal(lost: Sequence[str], possible: Sequence[str]) -> str:
    text = "these operations lose data, so no revision was written:\n  " + "\n  ".join(lost)
    if possible and len(possible) == 1:
        text += f"\nif it was renamed, say so: --rename {possible[0]}"
    elif possible:
        text += "\nif they were renamed, say so: " + " ".join(f"--rename {rename}" for rename in possible)
    return text + "\nif they are meant, pass allow_drops=True, or --allow-drops"
