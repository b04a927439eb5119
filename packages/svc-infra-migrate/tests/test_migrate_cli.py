"""The verbs of `svc-infra sql` that read: Alembic's forms, JSON by schema, plain output, completion, exit codes."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.migrate.answers import ANSWERS, answer_schema, write_page

MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("people", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def branched(workspace: Workspace) -> Workspace:
    """A history with a fork that is merged again; the database stands before the merge."""
    workspace.init(MODELS)
    create = 'op.create_table("people", sa.Column("id", sa.Integer, primary_key=True))'
    workspace.revision("root", create, 'op.drop_table("people")')
    workspace.revision("left", "pass", after="root")
    workspace.revision("right", 'op.execute("DELETE FROM people")', after="root")
    core.merge("heads", rev_id="joined", message="join", project=workspace.project)
    core.upgrade("left", project=workspace.project)
    return workspace


READS = {
    "branches": (),
    "check": (),
    "current": (),
    "diagram": (),
    "doctor": (),
    "graph": (),
    "heads": (),
    "history": (),
    "lint": (),
    "list-templates": (),
    "ping": (),
    "show": ("joined",),
    "status": (),
    "wait": (),
}
EXIT_CODES = {"check": 3, "lint": 5, "status": 3}
WRITES = {"merge", "revision", "setup-and-migrate"}


def test_every_verb_with_json_has_a_schema_and_a_page() -> None:
    """What the command line offers, the table of schemas and the page of the documentation name the same verbs."""
    from typer.main import get_command

    from svc_infra.migrate.cli import app

    group = get_command(app)
    offered = {
        name
        for name, command in group.commands.items()  # type: ignore[attr-defined]
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert offered == set(ANSWERS) == set(READS) | WRITES
    page = io.StringIO()
    write_page(page)
    written = Path(__file__).parents[3] / "docs" / "guide" / "migrations-json.md"
    assert written.read_text(encoding="utf-8") == page.getvalue(), "run python -m svc_infra.migrate.answers"


@pytest.mark.parametrize("verb", READS)
def test_a_json_answer_is_as_its_schema_says(branched: Workspace, verb: str) -> None:
    """Nothing but one JSON document is on stdout, with every field and no other."""
    done = branched.run("sql", verb, *READS[verb], "--json")
    assert done.returncode == EXIT_CODES.get(verb, 0), done.stderr
    answer = json.loads(done.stdout)
    assert answer
    jsonschema.validate(answer, answer_schema(verb))


def test_a_json_answer_of_a_verb_that_writes_is_as_its_schema_says(workspace: Workspace) -> None:
    """revision, which may answer null, merge and setup-and-migrate."""
    workspace.init(MODELS)
    runs = [
        ("revision", "--autogenerate", "-m", "first", "--rev-id", "first"),
        ("revision", "--autogenerate"),
        ("revision", "-m", "left", "--rev-id", "left"),
        ("revision", "-m", "right", "--rev-id", "right", "--head", "first", "--splice"),
        ("merge", "heads"),
        ("setup-and-migrate",),
    ]
    for arguments in runs:
        done = workspace.run("sql", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        jsonschema.validate(json.loads(done.stdout), answer_schema(arguments[0]))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("root:joined", ["joined", "right", "left", "root"]),
        ("left:", ["joined", "left"]),
        (":right", ["right", "root"]),
        ("current:", ["joined", "left"]),
        ("base:left", ["left", "root"]),
        (":head", ["joined", "right", "left", "root"]),
    ],
)
def test_history_takes_the_ranges_of_alembic(branched: Workspace, form: str, expected: list[str]) -> None:
    """a:b, a:, :b, base, head and current."""
    done = branched.run("sql", "history", "-r", form, "--json")
    assert done.returncode == 0, done.stderr
    found = [item["revision"] for item in json.loads(done.stdout)]
    assert sorted(found) == sorted(expected)


def test_history_marks_the_current_revision_and_draws_branches(branched: Workspace) -> None:
    """`--indicate-current` asks the database; `--graph` draws; `--verbose` tells file and date."""
    assert "left      root         current  left step" in branched.run("sql", "history", "-i").stdout
    drawn = branched.run("sql", "history", "--graph", "-i").stdout.splitlines()
    assert drawn[0] == "*  joined (head)  join"
    assert any("left (current)" in line and line.count("|") + line.count("*") == 2 for line in drawn)
    assert "file: " in branched.run("sql", "history", "-v").stdout


def test_targets_are_those_of_alembic(branched: Workspace) -> None:
    """An id's beginning, +N, -N, heads, head, base and a label's head, up and down."""
    branched.write(
        "migrations/versions/right.py",
        (branched.root / "migrations/versions/right.py").read_text().replace("= None", "= 'side'", 1),
    )

    def here() -> set[str]:
        return {item["revision"] for item in json.loads(branched.run("sql", "current", "--json").stdout)}

    branched.run("sql", "upgrade", "heads")
    ambiguous = branched.run("sql", "downgrade", "-1")
    assert (ambiguous.returncode, "name the revision" in ambiguous.stderr) == (1, True)
    steps = [
        ("upgrade", "side@head", {"joined"}),
        ("downgrade", "base", set()),
        ("upgrade", "+1", {"root"}),
        ("upgrade", "lef", {"left"}),
        ("downgrade", "left@base", set()),
        ("upgrade", "heads", {"joined"}),
        ("downgrade", "left", {"left", "right"}),
        ("downgrade", "root", {"root"}),
        ("upgrade", "head", {"joined"}),
    ]
    for verb, target, expected in steps:
        done = branched.run("sql", verb, target)
        assert done.returncode == 0, (verb, target, done.stderr)
        assert here() == expected, (verb, target)


def test_check_heads_exits_with_3_until_the_database_is_there(branched: Workspace) -> None:
    """`current --check-heads` answers and tells by its exit code."""
    behind = branched.run("sql", "current", "--check-heads")
    assert (behind.returncode, "left" in behind.stdout) == (3, True)
    branched.run("sql", "upgrade", "heads")
    assert branched.run("sql", "current", "--check-heads").returncode == 0


def test_edit_opens_the_file_in_the_users_editor(branched: Workspace, tmp_path: Path) -> None:
    """`VISUAL` or `EDITOR` with its arguments; a missing one is one clear message."""
    seen = tmp_path / "seen"
    script = tmp_path / "editor.py"
    script.write_text(f"import sys; open({str(seen)!r}, 'w').write(sys.argv[-1])")
    branched.environ["EDITOR"] = f"{sys.executable} {script}"
    assert branched.run("sql", "edit", "right").returncode == 0
    assert seen.read_text().endswith("versions/right.py")
    assert branched.run("sql", "edit", "current").returncode == 0
    assert seen.read_text().endswith("versions/left.py")
    branched.environ["VISUAL"] = "/no/such/editor"
    failed = branched.run("sql", "edit")
    assert failed.returncode == 1
    assert "can't start the editor '/no/such/editor'" in failed.stderr


def test_templates_are_listed_and_created(workspace: Workspace) -> None:
    """The library's own by default, Alembic's by name, and packages where they are asked for."""
    listed = workspace.run("sql", "list-templates").stdout
    assert "svc-infra" in listed
    assert "multidb" in listed
    assert workspace.run("sql", "init", "--package").returncode == 0
    assert (workspace.root / "migrations" / "versions" / "__init__.py").exists()
    (workspace.root / "other").mkdir()
    assert workspace.run("sql", "init", "--template", "generic", cwd="other").returncode == 0
    assert "engine_from_config" in (workspace.root / "other" / "migrations" / "env.py").read_text()
    assert "there is no template 'nothing'" in workspace.run("sql", "init", "-t", "nothing").stderr


def test_the_version_table_is_created_or_written_as_sql(workspace: Workspace, tmp_path: Path) -> None:
    """`ensure-version` and `ensure-version --sql`."""
    workspace.init(MODELS)
    assert "CREATE TABLE alembic_version" in workspace.run("sql", "ensure-version", "--sql").stdout
    assert workspace.run("sql", "ensure-version").returncode == 0
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (0,)


def test_variables_come_from_the_file_that_the_root_options_name(workspace: Workspace, tmp_path: Path) -> None:
    """`--env-file` replaces the project's `.env`, `--no-env` reads none, and the environment goes before both."""
    workspace.init(MODELS)
    del workspace.environ["SQL_URL"]
    workspace.write(".env", f"SQL_URL=sqlite:///{tmp_path}/dotenv.db\n")
    other = workspace.write("other.env", f"SQL_URL=sqlite:///{tmp_path}/other.db\n")
    assert "dotenv.db" in workspace.run("sql", "status", "--no-drift").stdout
    assert "other.db" in workspace.run("--env-file", str(other), "sql", "status", "--no-drift").stdout
    none = workspace.run("--no-env", "sql", "status", "--no-drift")
    assert (none.returncode, "SQL_URL" in none.stderr) == (1, True)
    workspace.environ["SQL_URL"] = f"sqlite:///{tmp_path}/process.db"
    assert "process.db" in workspace.run("--env-file", str(other), "sql", "status", "--no-drift").stdout
    assert workspace.run("--env-file", "nothing.env", "sql", "status").returncode == 2


@pytest.mark.parametrize("verb", [("url",), ("health", "check"), ("mongo", "status", "json")], ids=lambda verb: verb[0])
def test_no_group_reads_the_env_file_when_it_is_told_not_to(
    workspace: Workspace, verb: tuple[str, ...], tmp_path: Path
) -> None:
    """`--no-env` and `--env-file` mean the same for every group: a wrong database is worse than none."""
    del workspace.environ["SQL_URL"]
    (tmp_path / "dotenv.db").touch()
    workspace.write(".env", f"SQL_URL=sqlite:///{tmp_path}/dotenv.db\nMONGO_DB=dotenv\n")
    workspace.write("empty.env", "OTHER=1\n")
    for options in (("--no-env",), ("--env-file", "empty.env")):
        done = workspace.run(*options, *verb)
        assert done.returncode in {1, 2}, done.stdout
        assert "dotenv" not in done.stdout + done.stderr
        assert "no database" in done.stderr or "nothing to check" in done.stderr or "MONGO_DB" in done.stderr


def test_output_off_a_terminal_has_no_colours_and_no_wrapping(branched: Workspace) -> None:
    """Without NO_COLOR too, as stdout is no terminal here."""
    branched.environ.pop("NO_COLOR")
    branched.environ["COLUMNS"] = "20"
    for verb in ("status", "history", "doctor", "lint"):
        done = branched.run("sql", verb)
        assert "\033" not in done.stdout + done.stderr
    assert "left      root         current  left step" in branched.run("sql", "history", "-i").stdout


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    """As https://no-color.org says."""
    from svc_infra.migrate.terminal import Style

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert Style.of(Terminal(), {}).red("x") == "\033[31mx\033[0m"
    assert Style.of(Terminal(), {"NO_COLOR": "1"}).red("x") == "x"
    assert Style.of(Terminal(), {"TERM": "dumb"}).red("x") == "x"
    assert Style.of(io.StringIO(), {}).red("x") == "x"


@pytest.mark.parametrize(("words", "expected"), [("svc-infra sql up", "upgrade"), ("svc-infra sq", "sql")])
def test_the_shell_completes_groups_and_verbs(workspace: Workspace, words: str, expected: str) -> None:
    """As the script does that `svc-infra --install-completion` installs."""
    workspace.environ |= {
        "_SVC_INFRA_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = workspace.spawn()
    assert done.stdout.split() == [expected]


@pytest.mark.parametrize("group", ["sql", "url", "mongo", "health"])
def test_completion_is_installed_for_the_whole_command_alone(workspace: Workspace, group: str) -> None:
    """A group has no completion of its own to install."""
    assert "completion" in workspace.run("--help").stdout
    assert "completion" not in workspace.run(group, "--help").stdout
