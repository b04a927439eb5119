"""The group `svc-infra sql`: each verb calls one function of `svc_infra.db.sql.core`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

import svc_infra.db.sql.core as core
from svc_infra.migrate.cli_database import add_database_verbs
from svc_infra.migrate.cli_inspect import add_inspect_verbs
from svc_infra.migrate.cli_revisions import add_revision_verbs
from svc_infra.migrate.options import (
    AsJson,
    BranchLabel,
    DatabaseUrl,
    Message,
    Options,
    RevisionId,
    Splice,
    Sql,
    Tag,
    options_of,
    project_of,
)
from svc_infra.migrate.stderr_progress import StderrProgress
from svc_infra.migrate.terminal import print_json

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    help="Migrations: create, apply, undo, inspect and check revisions.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)

# `downgrade -1`: an option parser takes -1 for an option unless told otherwise; see _checked.
_TAKES_RELATIVE = {"ignore_unknown_options": True}


@app.callback()
def _group(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file; else ALEMBIC_CONFIG, else searched upwards."),
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Section of the configuration file.")] = "alembic",
    x: Annotated[list[str] | None, typer.Option("-x", metavar="KEY=VALUE", help="Argument for env.py.")] = None,
    lock_wait: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait for another process that migrates (300).")
    ] = None,
    lock_timeout: Annotated[
        int | None, typer.Option(min=1, help="Milliseconds that a statement waits for a table in use (3000).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each statement on stderr.")] = False,
) -> None:
    # asyncmy logs the server's notes as warnings, and Python writes warnings to stderr when nobody configured logging:
    # of the temporary tables by which models are compared they say that "changed tables couldn't be rolled back".
    logging.getLogger("asyncmy").addHandler(logging.NullHandler())
    given = {"MIGRATION_LOCK_WAIT_SECONDS": lock_wait, "MIGRATION_LOCK_TIMEOUT_MS": lock_timeout}
    variables = {variable: str(value) for variable, value in given.items() if value is not None}
    progress = StderrProgress(quiet=quiet, verbose=verbose)
    context.call_on_close(progress.close)
    reads_env_file = context.find_root().params.get("env", True) is not False
    context.obj = Options(config, name, tuple(x or ()), progress, variables, reads_env_file=reads_env_file)


def _checked(revision: str) -> str:
    """Refuse a mistyped option, which the parser hands over because it must let `-1` through."""
    if revision.startswith("-") and not revision[1:].isdigit():
        raise typer.BadParameter(f"no such option, and no revision: {revision}")
    return revision


def _pair(text: str) -> tuple[str, str]:
    old, colon, new = text.partition(":")
    if not (old and colon and new):
        raise typer.BadParameter(f"a rename is OLD:NEW, as users.name:full_name, got {text!r}")
    return old, new


def _ask(question: str) -> bool:
    return typer.confirm(question, err=True)


@app.command()
def init(
    context: typer.Context,
    script_location: Annotated[str, typer.Option(help="Folder of the revision files.")] = "migrations",
    discover_packages: Annotated[
        str | None, typer.Option(help="Packages to look for models in, separated by commas; else the whole project.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files with other content.")] = False,
    template: Annotated[
        str, typer.Option("--template", "-t", help="One of `list-templates`; the default calls this library.")
    ] = core.DEFAULT_TEMPLATE,
    package: Annotated[bool, typer.Option("--package", help="Make the folders Python packages.")] = False,
) -> None:
    """Create alembic.ini and the folder of revision files in the working directory."""
    packages = [name.strip() for name in (discover_packages or "").split(",") if name.strip()]
    core.init_alembic(
        script_location,
        discover_packages=packages or None,
        overwrite=overwrite,
        template=template,
        package=package,
        progress=options_of(context).progress,
    )


@app.command()
def revision(
    context: typer.Context,
    message: Message = None,
    autogenerate: Annotated[
        bool, typer.Option("--autogenerate", help="Write the operations that make the database equal to the models.")
    ] = False,
    head: Annotated[str, typer.Option(help="Revision to build upon, or branch@head.")] = "head",
    splice: Splice = False,
    branch_label: BranchLabel = None,
    version_path: Annotated[str | None, typer.Option(help="Folder to write to when there are several.")] = None,
    rev_id: RevisionId = None,
    depends_on: Annotated[list[str] | None, typer.Option(help="Revision that must be applied before.")] = None,
    ensure_head: Annotated[
        bool, typer.Option("--ensure-head/--no-ensure-head", help="Apply pending revisions before comparing.")
    ] = True,
    allow_drops: Annotated[bool, typer.Option("--allow-drops", help="Write operations that lose data.")] = False,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD:NEW", help="What has another name now: users.name:full_name."),
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write a new revision file."""
    created = core.revision(
        message,
        autogenerate=autogenerate,
        ensure_head_before_autogenerate=ensure_head,
        head=head,
        splice=splice,
        branch_label=branch_label,
        version_path=version_path,
        rev_id=rev_id,
        depends_on=depends_on,
        allow_drops=allow_drops,
        renames=dict(_pair(text) for text in rename or ()),
        ask=_ask if sys.stdin.isatty() and sys.stderr.isatty() else None,
        database_url=database_url,
        project=project_of(context),
    )
    if as_json:
        print_json(created)
    elif created is None:
        options_of(context).progress.note("No changes: the database is what the models say, no file was written.")
    else:
        typer.echo(created.path)


@app.command(context_settings=_TAKES_RELATIVE)
def upgrade(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="[REVISION]", help="head, heads, an id, +1, branch@head; with --sql from:to.")
    ] = "head",
    sql: Sql = False,
    tag: Tag = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Apply revisions."""
    core.upgrade(_checked(target), sql=sql, tag=tag, database_url=database_url, project=project_of(context))


@app.command(context_settings=_TAKES_RELATIVE)
def downgrade(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="[REVISION]", help="-1, an id, base; with --sql from:to.")] = "-1",
    sql: Sql = False,
    tag: Tag = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Undo revisions."""
    core.downgrade(_checked(target), sql=sql, tag=tag, database_url=database_url, project=project_of(context))


@app.command()
def stamp(
    context: typer.Context,
    targets: Annotated[
        list[str], typer.Argument(metavar="REVISION...", help="Revision to record, head, heads or base.")
    ],
    sql: Sql = False,
    tag: Tag = None,
    purge: Annotated[bool, typer.Option("--purge", help="Forget every recorded revision first.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Record a revision without running anything."""
    core.stamp(targets, sql=sql, tag=tag, purge=purge, database_url=database_url, project=project_of(context))


@app.command()
def merge(
    context: typer.Context,
    revisions: Annotated[list[str], typer.Argument(metavar="REVISION...", help="heads, or the revisions to join.")],
    message: Message = None,
    branch_label: BranchLabel = None,
    rev_id: RevisionId = None,
    splice: Splice = False,
    as_json: AsJson = False,
) -> None:
    """Join several heads into one revision."""
    created = core.merge(
        revisions, message=message, branch_label=branch_label, rev_id=rev_id, splice=splice, project=project_of(context)
    )
    if as_json:
        print_json(created)
    else:
        typer.echo(created.path)


@app.command()
def check(
    context: typer.Context,
    pending: Annotated[bool, typer.Option("--pending", help="Only look for revisions that are not applied.")] = False,
    drift: Annotated[bool, typer.Option("--drift", help="Only look for differences from the models.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Exit with 3 unless the database is at the newest revision and equal to the models."""
    both = pending == drift
    result = core.check(
        pending=pending or both,
        drift=drift or both,
        raise_on_difference=not as_json,
        database_url=database_url,
        project=project_of(context),
    )
    if as_json:
        print_json(result)
        if not result.ok:
            raise typer.Exit(3)
    else:
        options_of(context).progress.note("Nothing pending, no differences.")


add_revision_verbs(app)
add_inspect_verbs(app)
add_database_verbs(app)
