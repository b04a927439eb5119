"""The lint for changes under a running service."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.db.sql.core.lint.catalog import RULES, rule_table

CASES = {
    "drop-table": 'op.drop_table("t")',
    "drop-column": 'op.drop_column("t", "c")',
    "rename-table": 'op.rename_table("t", "u")',
    "rename-column": 'op.alter_column("t", "c", new_column_name="d")',
    "type-change": 'op.alter_column("t", "c", existing_type=sa.Integer(), type_=sa.BigInteger())',
    "set-not-null": 'op.alter_column("t", "c", nullable=False)',
    "not-null-without-default": 'op.add_column("t", sa.Column("c", sa.Integer, nullable=False))',
    "volatile-default": 'op.add_column("t", sa.Column("c", sa.Uuid, server_default=sa.text("gen_random_uuid()")))',
    "create-index-not-concurrently": 'op.create_index("ix", "t", ["c"])',
    "drop-index-not-concurrently": 'op.drop_index("ix", table_name="t")',
    "concurrently-in-transaction": 'op.create_index("ix", "t", ["c"], postgresql_concurrently=True)',
    "foreign-key-validates": 'op.create_foreign_key("fk", "t", "u", ["c"], ["id"])',
    "check-validates": 'op.create_check_constraint("ck", "t", "c > 0")',
    "unique-builds-index": 'op.create_unique_constraint("uq", "t", ["c"])',
    "primary-key-change": 'op.create_primary_key("pk", "t", ["c"])',
    "exclusion-builds-index": 'op.create_exclude_constraint("ex", "t", (sa.column("c"), "&&"))',
    "numbered-column": 'op.add_column("t", sa.Column("c", sa.Integer, sa.Identity()))',
    "json-column": 'op.add_column("t", sa.Column("c", sa.JSON))',
}
IN_SQL = {
    "DROP TABLE IF EXISTS t": "drop-table",
    "drop schema s cascade": "drop-schema",
    "TRUNCATE t CASCADE": "truncate",
    "ALTER TABLE t DROP COLUMN c": "drop-column",
    "ALTER TABLE ONLY t DROP c": "drop-column",
    "ALTER TABLE t DROP CONSTRAINT c": None,
    "ALTER TABLE t ALTER COLUMN c DROP NOT NULL": None,
    "ALTER TABLE t ALTER COLUMN c DROP DEFAULT": None,
    "ALTER TABLE t RENAME TO u": "rename-table",
    "ALTER TABLE t RENAME COLUMN c TO d": "rename-column",
    "ALTER TABLE t RENAME c TO d": "rename-column",
    "ALTER TABLE t RENAME CONSTRAINT c TO d": None,
    "ALTER TABLE t ALTER COLUMN c TYPE bigint USING c::bigint": "type-change",
    "ALTER TABLE t ALTER c SET NOT NULL": "set-not-null",
    "CREATE INDEX ix ON t (c)": "create-index-not-concurrently",
    "DROP INDEX ix": "drop-index-not-concurrently",
    "REINDEX TABLE t": "reindex-not-concurrently",
    "CREATE INDEX CONCURRENTLY ix ON t (c)": "concurrently-in-transaction",
    "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES u (id)": "foreign-key-validates",
    "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES u (id) NOT VALID": None,
    "ALTER TABLE t ADD CONSTRAINT ck CHECK (c > 0)": "check-validates",
    "ALTER TABLE t ADD CONSTRAINT uq UNIQUE (c)": "unique-builds-index",
    "ALTER TABLE t ADD CONSTRAINT uq UNIQUE USING INDEX ix": None,
    "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (c)": "primary-key-change",
    "ALTER TABLE t ADD CONSTRAINT ex EXCLUDE USING gist (c WITH &&)": "exclusion-builds-index",
    "ALTER TABLE t ADD CONSTRAINT ck CHECK (c > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT ck": (
        "validate-with-constraint"
    ),
    "ALTER TABLE t VALIDATE CONSTRAINT ck": None,
    "VACUUM (ANALYZE, FULL) t": "table-rewrite",
    "ALTER TABLE t SET UNLOGGED": "table-rewrite",
    "LOCK TABLE t": "lock-table",
    "REFRESH MATERIALIZED VIEW m": "refresh-not-concurrently",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m": None,
    "UPDATE t SET c = 1": "whole-table-write",
    "DELETE FROM t": "whole-table-write",
    "UPDATE t SET c = 1 WHERE id = 7": None,
    "CREATE TABLE n (id int); CREATE INDEX ix ON n (id); DROP TABLE n": None,
    "INSERT INTO t VALUES ('DROP TABLE t; DELETE FROM t')": None,
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM t; $$": None,
    "-- DROP TABLE t": None,
}
ON_MYSQL = {
    'op.create_foreign_key("fk", "t", "u", ["c"], ["id"])': "foreign-key-validates",
    'op.create_unique_constraint("uq", "t", ["c"])': "unique-fails-on-duplicates",
    'op.create_index("uq", "t", ["c"], unique=True)': "unique-fails-on-duplicates",
    'op.create_index("ix", "t", ["c"])': None,
    'op.execute("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4")': "type-change",
    'op.execute("ALTER TABLE t CHANGE COLUMN c d INT")': "rename-column",
    'op.execute("OPTIMIZE TABLE t")': "table-rewrite",
    'op.execute("RENAME TABLE t TO u")': "rename-table",
}
SAFE = {
    "a nullable column": 'op.add_column("t", sa.Column("c", sa.Integer))',
    "a constant default": 'op.add_column("t", sa.Column("c", sa.Integer, nullable=False, server_default="0"))',
    "longer text": 'op.alter_column("t", "c", existing_type=sa.String(10), type_=sa.String(20))',
    "an index built concurrently": """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t", ["c"], postgresql_concurrently=True)
    """,
    "a key that is not validated": 'op.create_foreign_key("fk", "t", "u", ["c"], ["id"], postgresql_not_valid=True)',
    "a new table with its index": """
        op.create_table("n", sa.Column("id", sa.Integer, primary_key=True), sa.Column("c", sa.Integer))
        op.create_index("ix", "n", ["c"])
        op.create_unique_constraint("uq", "n", ["c"])
    """,
}


@pytest.mark.parametrize("rule", CASES)
def test_each_hazard_is_found_with_its_risk_and_the_safe_sequence(workspace: Workspace, rule: str) -> None:
    """On PostgreSQL; each finding names the line, the risk and what to do instead."""
    workspace.init()
    workspace.revision("r1", CASES[rule])
    (found,) = core.lint(dialect="postgresql", squawk=False, project=workspace.project)
    assert (found.rule, found.revision, found.line) == (rule, "r1", 13)
    assert found.risk
    assert found.instead


@pytest.mark.parametrize("sql", IN_SQL)
def test_hazards_of_written_sql_are_found_like_those_of_operations(workspace: Workspace, sql: str) -> None:
    """What op.execute() runs is read, without its comments, texts and function bodies."""
    workspace.init()
    workspace.revision("r1", f"op.execute({sql!r})")
    found = [item.rule for item in core.lint(dialect="postgresql", squawk=False, project=workspace.project)]
    assert found == ([IN_SQL[sql]] if IN_SQL[sql] else [])


@pytest.mark.parametrize("step", ON_MYSQL)
def test_hazards_of_mysql_are_its_own(workspace: Workspace, step: str) -> None:
    """Foreign keys copy the table there, a plain index does not block."""
    workspace.init()
    workspace.revision("r1", step)
    found = {item.rule for item in core.lint(dialect="mysql", project=workspace.project)}
    assert (ON_MYSQL[step] in found) if ON_MYSQL[step] else not found


@pytest.mark.parametrize(
    ("column", "rules"),
    [
        ('sa.Column("c", sa.Integer, sa.ForeignKey("u.id"))', {"foreign-key-validates"}),
        ('sa.Column("c", sa.Integer, unique=True)', {"unique-builds-index"}),
        ('sa.Column("c", sa.Integer, index=True)', {"create-index-not-concurrently"}),
    ],
)
def test_what_comes_with_a_new_column_is_looked_at_too(workspace: Workspace, column: str, rules: set[str]) -> None:
    """A key, a unique constraint or an index inside add_column is one all the same."""
    workspace.init()
    workspace.revision("r1", f'op.add_column("t", {column})')
    found = core.lint(dialect="postgresql", squawk=False, project=workspace.project)
    assert {item.rule for item in found} == rules


def test_every_rule_has_a_case_and_stands_in_the_documentation() -> None:
    """The page's table is the catalog."""
    tested = {*CASES, *IN_SQL.values(), *ON_MYSQL.values(), "not-linted"} - {None}
    assert tested == set(RULES)
    page = (Path(__file__).parents[3] / "docs" / "guide" / "migrations-lint.md").read_text(encoding="utf-8")
    assert rule_table() in page


@pytest.mark.parametrize("name", SAFE)
def test_what_is_safe_is_not_found(workspace: Workspace, name: str) -> None:
    """A lint that cries wolf is switched off."""
    workspace.init()
    workspace.revision("r1", SAFE[name])
    assert core.lint(dialect="postgresql", squawk=False, project=workspace.project) == []


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "sqlite", "mssql"])
def test_drops_are_found_in_batches_and_on_every_database(workspace: Workspace, dialect: str) -> None:
    """SQLite's batches hide their operations from nobody."""
    workspace.init()
    workspace.revision("r1", 'with op.batch_alter_table("t") as batch_op:\n    batch_op.drop_column("c")')
    assert [item.rule for item in core.lint(dialect=dialect, squawk=False, project=workspace.project)] == [
        "drop-column"
    ]


def test_a_finding_is_suppressed_with_a_reason_only(workspace: Workspace) -> None:
    """The reason is part of the answer; without one the lint stops."""
    workspace.init()
    workspace.revision("r1", '# lint: ignore[drop-table] empty since 2.3\nop.drop_table("t")')
    (found,) = core.lint(dialect="postgresql", squawk=False, project=workspace.project)
    assert found.suppressed == "empty since 2.3"
    workspace.revision("r1", '# lint: ignore[drop-table]\nop.drop_table("t")')
    with pytest.raises(core.RevisionError, match="needs a reason"):
        core.lint(dialect="postgresql", squawk=False, project=workspace.project)


def test_a_revision_that_needs_a_database_is_told(workspace: Workspace) -> None:
    """What was not looked at is not called safe."""
    workspace.init()
    workspace.revision("r1", 'op.get_bind().execute(sa.text("SELECT 1")).scalar()')
    (found,) = core.lint(dialect="postgresql", squawk=False, project=workspace.project)
    assert found.rule == "not-linted"


def test_a_range_leaves_out_what_is_released(workspace: Workspace) -> None:
    """from: is excluded, so that CI looks at what a branch adds."""
    workspace.init()
    workspace.revision("r1", 'op.drop_table("t")')
    workspace.revision("r2", 'op.drop_table("u")', after="r1")
    found = core.lint("r1:", dialect="postgresql", squawk=False, project=workspace.project)
    assert [item.revision for item in found] == ["r2"]


def test_findings_exit_with_5_and_annotate_the_line_on_github(workspace: Workspace) -> None:
    """A workflow shows them where they are."""
    workspace.init()
    workspace.revision("r1", 'op.drop_table("t")')
    done = workspace.run("sql", "lint", "--format", "github", "--dialect", "postgresql")
    assert done.returncode == 5, done.stderr
    assert done.stdout.startswith(f"::error file={workspace.root}/migrations/versions/r1.py,line=13,title=drop-table::")


@pytest.mark.skipif(shutil.which("squawk") is None, reason="squawk (pip install squawk-cli) is not installed")
def test_squawk_adds_what_our_rules_do_not_know(workspace: Workspace) -> None:
    """On PostgreSQL's SQL of the revision."""
    workspace.init()
    workspace.revision("r1", 'op.execute("ALTER TABLE t ALTER COLUMN c DROP NOT NULL")\nop.drop_table("t")')
    found = core.lint(dialect="postgresql", project=workspace.project)
    assert [item.rule for item in found] == ["drop-table", "ban-drop-not-null"]
    assert found[1].risk
