"""Autogenerate over every kind of change: it is found, nothing else is, and up-down-up leaves no trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.changes import CHANGES
from migrate.workspace import Workspace
from svc_infra.db.sql.core.autogenerate.definitions import index_definitions
from svc_infra.db.sql.core.autogenerate.sequences import existing_sequences as sequences
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

ENVIRONMENT = "from migrate.changes import build\n\nmetadata = build({after}, {dialect!r})"

EVERYWHERE = {
    "table_added": ["create table table_added"],
    "table_dropped": ["drop index ix_table_dropped_name of table_dropped", "drop table table_dropped"],
    "column_added": ["add column column_added.name VARCHAR(20)"],
    "column_dropped": ["drop column column_dropped.name"],
    "type_changed": ["change column type_changed.n: type INTEGER to BIGINT"],
    "length_changed": ["change column length_changed.name: type VARCHAR(20) to VARCHAR(50)"],
    "numeric_changed": ["change column numeric_changed.price: type NUMERIC(10, 2) to NUMERIC(12, 4)"],
    "null_forbidden": ["change column null_forbidden.name: not nullable"],
    "null_allowed": ["change column null_allowed.name: nullable"],
    "default_added": ["change column default_added.n: default none to 7"],
    "default_changed": ["change column default_changed.name: default 'old' to new"],
    "default_dropped": ["change column default_dropped.n: default 7 to none"],
    "default_now": [],
    "index_added": ["create index ix_index_added_name on index_added (name)"],
    "index_dropped": ["drop index ix_index_dropped_name of index_dropped"],
    "index_columns": [
        "drop index ix_index_columns of index_columns",
        "create index ix_index_columns on index_columns (a, b)",
    ],
    "index_expression": [
        "drop index ix_index_expression of index_expression",
        "create index ix_index_expression on index_expression (upper(name))",
    ],
    "index_predicate": [
        "drop index ix_index_predicate of index_predicate",
        "create index ix_index_predicate on index_predicate (n)",
    ],
    "live_unique_added": ["create unique index ix_live_unique_added_a on live_unique_added (a)"],
    "live_unique_dropped": ["drop index ix_live_unique_dropped_a of live_unique_dropped"],
    "live_unique_columns": [
        "drop index ix_live_unique_columns of live_unique_columns",
        "create unique index ix_live_unique_columns on live_unique_columns (a, b)",
    ],
    "live_unique_same": [],
    "unique_added": ["add unique constraint uq_unique_added_name on unique_added (name)"],
    "unique_dropped": ["drop unique constraint uq_unique_dropped_name of unique_dropped"],
    "foreign_key_added": [
        "add foreign key fk_foreign_key_added_p_parent_added from foreign_key_added (p) to parent_added (id)"
    ],
    "foreign_key_dropped": ["drop foreign key fk_foreign_key_dropped_p_parent_dropped of foreign_key_dropped"],
    "foreign_key_rule": [
        "drop foreign key fk_foreign_key_rule_p_parent_rule of foreign_key_rule",
        "add foreign key fk_foreign_key_rule_p_parent_rule from foreign_key_rule (p) to parent_rule (id)",
    ],
    "check_added": ["add check constraint ck_check_added_positive on check_added: n > 0"],
    "check_dropped": ["drop check constraint ck_check_dropped_positive of check_dropped"],
    "check_changed": [
        "drop check constraint ck_check_changed_bound of check_changed",
        "add check constraint ck_check_changed_bound on check_changed: n > 1",
    ],
    "enum_as_text": [
        "drop check constraint ck_enum_as_text_kind of enum_as_text",
        "add check constraint ck_enum_as_text_kind on enum_as_text: kind IN ('red', 'amber', 'green')",
    ],
    "unique_columns": [
        "drop unique constraint uq_pair of unique_columns",
        "add unique constraint uq_pair on unique_columns (a, b)",
    ],
    "plain_to_computed": ["drop column plain_to_computed.total", "add column plain_to_computed.total INTEGER"],
    "sequence_added": ["create sequence counter_added"],
    "sequence_changed": [
        (
            "change sequence counter_changed to INCREMENT BY 5 MINVALUE 1 MAXVALUE 9223372036854775806"
            " START WITH 1 CACHE 1000 NOCYCLE"
        )
    ],
    "sequence_dropped": ["drop sequence counter_dropped"],
    "identity_changed": [],
    "primary_key_changed": [
        "drop primary key pk_primary_key_changed of primary_key_changed",
        "add primary key pk_primary_key_changed on primary_key_changed (a, b)",
    ],
}
"""What is found, by kind; the entries of a database add to these or stand in their place."""

POSTGRESQL = {
    "sequence_added": [
        "create sequence counter_added",
        "change column sequence_added.n: default none to nextval('counter_added')",
    ],
    "sequence_changed": [
        (
            "change sequence counter_changed to AS bigint INCREMENT BY 5 MINVALUE 1 MAXVALUE 9223372036854775807"
            " START WITH 1 CACHE 1 NO CYCLE"
        )
    ],
    "sequence_dropped": [
        "change column sequence_dropped.n: default nextval('counter_dropped'::regclass) to none",
        "drop sequence counter_dropped",
    ],
    "identity_changed": [
        (
            "change column identity_changed.id: default Identity(start=1, increment=1, minvalue=1, maxvalue=2147483647,"
            " cycle=False, cache=1) to Identity(increment=2)"
        )
    ],
    "default_changed": ["change column default_changed.name: default 'old'::character varying to new"],
    "computed_changed": ["drop column computed_changed.total", "add column computed_changed.total INTEGER"],
    "comment_changed": ["change column comment_changed.id: comment to 'new'", "set comment of comment_changed: 'new'"],
    "enum_value_added": ["add to enum light: amber"],
    "enum_value_removed": ["replace enum lamp by red, green, without amber"],
    "enum_column_added": ["create enum signal: red, green", "add column enum_column_added.signal signal"],
}
MYSQL = {
    "foreign_key_added": [
        "create index fk_foreign_key_added_p_parent_added on foreign_key_added (p)",
        *EVERYWHERE["foreign_key_added"],
    ],
    "type_changed": ["change column type_changed.n: type INTEGER(11) to BIGINT"],
    "numeric_changed": ["change column numeric_changed.price: type DECIMAL(10, 2) to NUMERIC(12, 4)"],
    "index_expression": [],
    "index_predicate": [],
    "unique_dropped": ["drop index uq_unique_dropped_name of unique_dropped"],
    "enum_value_added": [
        "change column enum_value_added.light: type ENUM('red','green') to ENUM('red','amber','green')"
    ],
    "enum_value_removed": [
        "change column enum_value_removed.lamp: type ENUM('red','amber','green') to ENUM('red','green')"
    ],
    "enum_column_added": ["add column enum_column_added.signal ENUM('red','green')"],
    "comment_changed": POSTGRESQL["comment_changed"],
    "computed_changed": POSTGRESQL["computed_changed"],
}
SQLITE = {
    "sequence_added": [],
    "sequence_changed": [],
    "sequence_dropped": [],
    "default_dropped": ["change column default_dropped.n: default '7' to none"],
    "comment_changed": [],
    "enum_value_added": [],
    "enum_value_removed": [],
    "enum_column_added": ["add column enum_column_added.signal VARCHAR(5)"],
    "computed_changed": POSTGRESQL["computed_changed"],
}
DIFFERENT = {"postgresql": POSTGRESQL, "mysql": MYSQL, "sqlite": SQLITE}


TYPES = {
    "enum_value_added": "light",
    "enum_value_removed": "lamp",
    "enum_column_added": "signal",
    "sequence_added": "counter_added",
    "sequence_changed": "counter_changed",
    "sequence_dropped": "counter_dropped",
}
"""What a kind changes beside its table."""


def is_about(line: str, kind: str) -> bool:
    verbs = "(create|add to|replace|change|drop) (enum|sequence)"
    return bool(re.search(rf"\b({kind}|{verbs} {TYPES.get(kind, kind)})\b", line))


def schema_of(workspace: Workspace) -> dict[str, object]:
    """Return everything that can be reflected, in a form that can be compared."""

    def read(connection: sa.Connection) -> dict[str, object]:
        inspector = sa.inspect(connection)
        found: dict[str, object] = {}
        for table in sorted(inspector.get_table_names()):
            comment = inspector.get_table_comment(table) if connection.dialect.name != "sqlite" else None
            found[table] = [
                sorted(repr({**column, "type": str(column["type"])}) for column in inspector.get_columns(table)),
                inspector.get_pk_constraint(table)["constrained_columns"],
                index_definitions(connection, table, None) or sorted(map(repr, inspector.get_indexes(table))),
                sorted(map(repr, inspector.get_unique_constraints(table))),
                sorted(map(repr, inspector.get_foreign_keys(table))),
                # PostgreSQL writes a text that it has written itself with its casts in other places.
                sorted(re.sub(r"::[a-z ]+|[\[\]()]", "", str(item)) for item in inspector.get_check_constraints(table)),
                comment,
            ]
        if connection.dialect.supports_sequences:
            found["sequences"] = sorted(map(repr, sequences(connection)))
        if connection.dialect.name == "postgresql":
            found["enums"] = inspector.get_enums()  # type: ignore[attr-defined]
        return found

    with warnings.catch_warnings():  # of expression indexes on SQLite, whose definitions are read instead
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        return run_on_connection(resolve_target(workspace.project), read)


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "sqlite"])
def test_every_kind_of_change_is_found_and_nothing_else_and_up_down_up_leaves_no_trace(
    dialect: str, request: pytest.FixtureRequest, make_workspace: Callable[[str], Workspace]
) -> None:
    """The revision written for the changed models brings the database to them and back to what it was."""
    workspace = make_workspace(request.getfixturevalue(f"{'postgres' if dialect == 'postgresql' else dialect}_url"))
    project = workspace.init(ENVIRONMENT.format(after=False, dialect=dialect))
    assert core.revision("before", autogenerate=True, project=project, rev_id="r1") is not None
    core.upgrade(project=project)
    assert core.check(project=project, raise_on_difference=False).differences == ()
    before = schema_of(workspace)

    (workspace.root / "migrations" / "env.py").unlink()
    workspace.init(ENVIRONMENT.format(after=True, dialect=dialect))
    found = core.check(project=project, raise_on_difference=False).differences
    by_kind = {kind: sorted(line for line in found if is_about(line, kind)) for kind in CHANGES}
    assert by_kind == {kind: sorted(lines) for kind, lines in (EVERYWHERE | DIFFERENT[dialect]).items()}
    assert sum(map(len, by_kind.values())) == len(found)

    assert core.revision("after", autogenerate=True, allow_drops=True, project=project, rev_id="r2") is not None
    core.upgrade(project=project)
    assert core.check(project=project, raise_on_difference=False).differences == ()
    after = schema_of(workspace)
    core.downgrade(project=project)
    assert schema_of(workspace) == before
    core.upgrade(project=project)
    assert schema_of(workspace) == after
