"""The verbs of `svc-infra sql` that read and open revision files."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Annotated, TypeAlias

import typer

import svc_infra.db.sql.core as core
from svc_infra.migrate.graph import draw_graph
from svc_infra.migrate.options import AsJson, DatabaseUrl, project_of
from svc_infra.migrate.terminal import print_json, print_revisions, print_table

__all__ = ["add_revision_verbs"]

Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Show file and date of each revision too.")]


def add_revision_verbs(app: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (current, heads, history, show, branches, graph, edit):
        app.command()(verb)
    app.command("list-templates")(list_templates)


def current(
    context: typer.Context,
    check_heads: Annotated[bool, typer.Option("--check-heads", help="Exit with 3 unless it is the newest.")] = False,
    verbose: Verbose = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the revision that the database is at."""
    project = project_of(context)
    found = core.current(database_url=database_url, project=project)
    print_revisions(found, as_json=as_json, verbose=verbose)
    newest = {item.revision for item in core.heads(project=project)}
    if check_heads and {item.revision for item in found} != newest:
        raise core.Pending(f"the newest is {', '.join(sorted(newest)) or 'none'}; run `svc-infra sql upgrade`")


def heads(
    context: typer.Context,
    resolve_dependencies: Annotated[
        bool, typer.Option("--resolve-dependencies", help="Leave out what another head depends on.")
    ] = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest revisions."""
    found = core.heads(resolve_dependencies=resolve_dependencies, project=project_of(context))
    print_revisions(found, as_json=as_json, verbose=verbose)


def history(
    context: typer.Context,
    rev_range: Annotated[str | None, typer.Option("--rev-range", "-r", help="from:to; current is known too.")] = None,
    indicate_current: Annotated[
        bool, typer.Option("--indicate-current", "-i", help="Mark where the database is, which asks it.")
    ] = False,
    drawn: Annotated[bool, typer.Option("--graph", "-g", help="Draw branches and merges.")] = False,
    verbose: Verbose = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the revisions, newest first."""
    project = project_of(context)
    found = core.history(rev_range, database_url=database_url, project=project)
    here: frozenset[str] = frozenset()
    if indicate_current:
        here = frozenset(item.revision for item in core.current(database_url=database_url, project=project))
    if drawn and not as_json:
        for line in draw_graph(found, here):
            typer.echo(line)
    else:
        print_revisions(found, as_json=as_json, verbose=verbose, current=here)


def show(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="An id, head, heads or current.")] = "head",
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show a revision."""
    found = core.show(revision, database_url=database_url, project=project_of(context))
    print_revisions(found, as_json=as_json, verbose=True)


def branches(context: typer.Context, verbose: Verbose = False, as_json: AsJson = False) -> None:
    """List the revisions that several others build upon."""
    print_revisions(core.branches(project=project_of(context)), as_json=as_json, verbose=verbose)


def graph(context: typer.Context, as_json: AsJson = False) -> None:
    """Draw the history with its branches and merges."""
    history(context, drawn=True, as_json=as_json)


def edit(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="An id, head, heads or current.")] = "head",
    database_url: DatabaseUrl = None,
) -> None:
    """Open a revision file in the editor that VISUAL or EDITOR names."""
    found = core.show(revision, database_url=database_url, project=project_of(context))
    paths = [item.path for item in found if item.path]
    if not paths:
        raise core.RevisionError(f"there is no file of {revision} to edit")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    try:
        done = subprocess.run([*shlex.split(editor), *paths], check=False)  # noqa: S603  the user's own program
    except OSError as error:
        raise core.MigrationError(f"can't start the editor {editor!r} (VISUAL, EDITOR): {error}") from error
    if done.returncode:
        raise core.MigrationError(f"the editor {editor!r} ended with {done.returncode}")


def list_templates(as_json: AsJson = False) -> None:
    """List what `init --template` takes."""
    found = core.list_templates()
    if as_json:
        print_json(found)
    else:
        print_table(("template", "what it is"), [(item.name, item.description) for item in found])
