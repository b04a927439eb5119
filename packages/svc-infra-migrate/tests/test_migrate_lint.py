"""The lint for changes under a running service."""

from __future__ import annotations

import shutil

import pytest

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace

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
    workspace.revision("r1", 'op.execute("TRUNCATE t CASCADE")')
    found = core.lint(dialect="postgresql", project=workspace.project)
    assert [item.rule for item in found] == ["ban-truncate-cascade"]
