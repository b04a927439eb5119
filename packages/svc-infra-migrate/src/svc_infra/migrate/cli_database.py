"""The verbs of `svc-infra sql` that work on the database as a whole."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

import svc_infra.db.sql.core as core
from svc_infra.migrate.options import AsJson, DatabaseUrl, Sql, Yes, options_of, project_of
from svc_infra.migrate.terminal import print_json

__all__ = ["add_database_verbs"]


def add_database_verbs(app: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (ping, wait, reset, seed, dump, restore):
        app.command()(verb)
    app.command("create-db")(create_db)
    app.command("setup-and-migrate")(setup_and_migrate)
    app.command("export-tenant")(export_tenant)
    app.command("ensure-version")(ensure_version)
    app.command()(scaffold)


def ping(context: typer.Context, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Ask the database for an answer."""
    seconds = core.ping(database_url=database_url, project=options_of(context).any_project())
    if as_json:
        print_json({"seconds": seconds})
    else:
        typer.echo(f"answers in {seconds * 1000:.0f} ms")


def wait(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0, help="How long to wait, in seconds.")] = 60,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Wait until the database answers."""
    seconds = core.wait(timeout, database_url=database_url, project=options_of(context).any_project())
    if as_json:
        print_json({"seconds": seconds})
    options_of(context).progress.note(f"The database answered after {seconds:.1f} s")


def create_db(context: typer.Context, database_url: DatabaseUrl = None) -> None:
    """Create the database when it is not there."""
    created = core.create_database(database_url=database_url, project=options_of(context).any_project())
    options_of(context).progress.note("Created." if created else "It is there already.")


def reset(context: typer.Context, yes: Yes = None, database_url: DatabaseUrl = None) -> None:
    """Drop everything and apply all revisions."""
    core.reset(yes=yes, database_url=database_url, project=project_of(context))


def seed(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="A function, sync or async.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Call a function of the project that fills the database."""
    core.seed(target, database_url=database_url, project=options_of(context).any_project())


def setup_and_migrate(
    context: typer.Context,
    overwrite_scaffold: Annotated[bool, typer.Option(help="Write env.py and the others anew.")] = False,
    create_db_if_missing: Annotated[bool, typer.Option(help="Create the database.")] = True,
    create_followup_revision: Annotated[bool, typer.Option(help="Write a revision for changed models.")] = True,
    initial_message: Annotated[str, typer.Option(help="Message of a first revision.")] = "initial schema",
    followup_message: Annotated[str, typer.Option(help="Message of a later one.")] = "autogen",
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Create what is missing of database, environment and revision, and apply all revisions."""
    try:
        project = project_of(context)
    except core.ProjectNotFound:
        project = None
    with redirect_stdout(sys.stderr):  # for a project that is made here
        done = core.setup_and_migrate(
            overwrite_scaffold=overwrite_scaffold,
            create_db_if_missing=create_db_if_missing,
            create_followup_revision=create_followup_revision,
            initial_message=initial_message,
            followup_message=followup_message,
            database_url=database_url,
            project=project,
            progress=options_of(context).progress,
        )
    if as_json:
        print_json(done)


def dump(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="File to write; it must not be there yet.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Write the database into a file."""
    core.dump(path, database_url=database_url, project=options_of(context).any_project())
    options_of(context).progress.note(f"Wrote {path}")


def restore(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="File that dump wrote.")],
    yes: Yes = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace the database's content by a dump."""
    core.restore(path, yes=yes, database_url=database_url, project=options_of(context).any_project())


def export_tenant(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table.")],
    tenant_id: Annotated[str, typer.Option(help="The tenant.")],
    tenant_field: Annotated[str, typer.Option(help="Column with the tenant.")] = "tenant_id",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, else stdout.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the rows of a tenant as JSON."""
    project = options_of(context).any_project()
    if output is None:
        count = core.export_tenant(
            table,
            tenant_id,
            sys.stdout,
            tenant_field=tenant_field,
            limit=limit,
            database_url=database_url,
            project=project,
        )
    else:
        with output.open("w", encoding="utf-8") as stream:
            count = core.export_tenant(
                table,
                tenant_id,
                stream,
                tenant_field=tenant_field,
                limit=limit,
                database_url=database_url,
                project=project,
            )
    options_of(context).progress.note(f"{count} rows")


def ensure_version(context: typer.Context, sql: Sql = False, database_url: DatabaseUrl = None) -> None:
    """Create the version table."""
    core.ensure_version(sql=sql, database_url=database_url, project=project_of(context))


def scaffold(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the model, as OrderLine.")],
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD:TYPE]...", help="As price:decimal note:text?")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("models.py"),
) -> None:
    """Write a module with a model."""
    pairs: dict[str, str] = {}
    for text in fields or ():
        field, colon, kind = text.partition(":")
        if not (field and colon and kind):
            raise typer.BadParameter(f"a field is NAME:TYPE, as price:decimal, got {text!r}")
        pairs[field] = kind
    core.scaffold_model(name, pairs, output)
    options_of(context).progress.note(f"Wrote {output}")
