"""The verbs of `svc-infra sql` that look and change nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

import typer

import svc_infra.db.sql.core as core
from svc_infra.migrate.options import AsJson, DatabaseUrl, options_of, project_of
from svc_infra.migrate.terminal import Style, print_json, print_table

__all__ = ["add_inspect_verbs"]

PENDING_OR_DRIFT, LINT_FINDINGS = 3, 5


def add_inspect_verbs(app: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (status, lint, doctor, diagram):
        app.command()(verb)


def status(
    context: typer.Context,
    drift: Annotated[bool, typer.Option("--drift/--no-drift", help="Compare with the models too.")] = True,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the database, where it stands, and what is missing; exit with 3 when something is."""
    found = core.status(drift=drift, database_url=database_url, project=project_of(context))
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    if not found.ok:
        raise typer.Exit(PENDING_OR_DRIFT)


def _print_status(found: core.Status) -> None:
    current = ", ".join(f"{item.revision} {item.message}" for item in found.current) or "no revision yet"
    rows = [
        ("database", f"{found.database} (from {found.source})"),
        ("current", current),
        ("head", ", ".join(item.revision for item in found.heads) or "none"),
        ("pending", str(len(found.pending))),
        *(("", f"{item.revision}  {item.message}  {_age(item.created)}") for item in found.pending),
    ]
    if found.differences is None:
        rows.append(("drift", "not compared" + (" while revisions are pending" if found.pending else "")))
    else:
        rows.append(("drift", str(len(found.differences)) if found.differences else "none"))
        rows += [("", line) for line in found.differences]
    print_table(("", ""), rows)


def _age(created: str | None) -> str:
    try:
        written = dt.datetime.fromisoformat(created or "")
    except ValueError:
        return ""
    days = (dt.datetime.now(written.tzinfo) - written).days
    return f"({days} days old)" if days > 1 else "(new)"


def lint(
    context: typer.Context,
    rev_range: Annotated[
        str | None, typer.Argument(metavar="[FROM:TO]", help="Which revisions; all by default.")
    ] = None,
    dialect: Annotated[str | None, typer.Option(help="Database to assume, by default the configured one.")] = None,
    form: Annotated[
        Literal["text", "json", "github"], typer.Option("--format", help="How to write the findings.")
    ] = "text",
    squawk: Annotated[bool, typer.Option("--squawk/--no-squawk", help="Run squawk too when it is installed.")] = True,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Find what would stop a running service; exit with 5 when something is found."""
    found = core.lint(rev_range, dialect=dialect, squawk=squawk, database_url=database_url, project=project_of(context))
    open_findings = [item for item in found if item.suppressed is None]
    if as_json or form == "json":
        print_json(found)
    elif form == "github":
        for item in open_findings:
            typer.echo(core.github_annotation(item))
    else:
        for item in open_findings:
            typer.echo(f"{_relative(item.path)}:{item.line}: {item.rule}: {item.operation}")
            typer.echo(f"    risk: {item.risk}")
            if item.lock:
                typer.echo(f"    lock: {item.lock}")
            typer.echo(f"    instead: {item.instead}")
    options_of(context).progress.note(f"{len(open_findings)} found, {len(found) - len(open_findings)} suppressed")
    if open_findings:
        raise typer.Exit(LINT_FINDINGS)


def _relative(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def doctor(context: typer.Context, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Look at configuration, revisions, models and database; exit with 1 when something is wrong."""
    options = options_of(context)
    try:
        project = project_of(context)
    except core.ProjectNotFound:
        project = None
    found = core.doctor(database_url=database_url, project=project)
    if as_json:
        print_json(found)
    else:
        import sys

        style = Style.of(sys.stdout)
        print_table(
            ("", "what", "found"),
            [(style.green("ok") if item.ok else style.red("!!"), item.name, item.detail) for item in found],
        )
    if not all(item.ok for item in found):
        options.progress.note("Something is wrong.")
        raise typer.Exit(1)


def diagram(
    context: typer.Context,
    form: Annotated[Literal["mermaid", "svg"], typer.Option("--format", help="Mermaid text or SVG.")] = "mermaid",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, else stdout.")] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Draw the tables of the database."""
    if as_json:
        print_json(core.describe_tables(database_url=database_url, project=options_of(context).any_project()))
        return
    text = core.diagram(form, database_url=database_url, project=options_of(context).any_project())
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        options_of(context).progress.note(f"Wrote {output}")
