"""The command `svc-infra`: groups of verbs that the installed packages bring, each imported when it is used.

A package adds a group by an entry point of the group `svc_infra.cli` that names a `typer.Typer`. The help lists them
with the summary of their distribution, so that `svc-infra --help` imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

if TYPE_CHECKING:
    from typer import _click

__all__ = ["app", "main"]

ENTRY_POINTS = "svc_infra.cli"
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


class _Groups(TyperGroup):
    """Finds the groups by entry point, and imports one only to run it."""

    _is_listing = False

    def list_commands(self, ctx: _click.Context) -> list[str]:
        """Return the names of the installed groups."""
        return sorted({*super().list_commands(ctx), *_installed()})

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        """Return a group; for the help only its name and summary."""
        found = _installed().get(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        if self._is_listing:
            return TyperCommand(name=cmd_name, help=_summary(found))
        command = get_command(found.load())
        command.name = cmd_name
        return command

    def format_help(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the help without importing the groups."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False


app: typer.Typer = typer.Typer(
    name="svc-infra",
    cls=_Groups,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"svc-infra-migrate {version('svc-infra-migrate')}")
        except PackageNotFoundError:
            typer.echo("svc-infra-migrate (not installed as a distribution)")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    show_version: Annotated[  # noqa: ARG001  its callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="File with variables, instead of the project's .env; the process environment goes before."),
    ] = None,
    env: Annotated[  # noqa: ARG001  read by the groups from the context
        bool, typer.Option("--env/--no-env", help="Read the project's .env; not with --env-file.")
    ] = True,
) -> None:
    """Database infrastructure for Python services."""
    if env_file is None:
        return
    if not env_file.is_file():
        raise typer.BadParameter(f"there is no file {env_file}", param_hint="--env-file")
    from dotenv import dotenv_values

    context.params["env"] = False
    for name, value in dotenv_values(env_file).items():
        if value and not os.environ.get(name, "").strip():
            os.environ[name] = value


def main(environ: Mapping[str, str] = os.environ) -> None:
    """Run the command line and exit the process.

    Exits with 0 when all went well, 1 for an error, 2 for wrong usage, 3 for pending revisions or drift, 4 when the
    migration lock was not obtained, 5 for findings of the lint. An error is one message on stderr; with the variable
    `SVC_INFRA_TRACEBACK` set it is Python's traceback.
    """
    try:
        get_command(app)(prog_name="svc-infra")
    except KeyboardInterrupt:
        print("\nerror: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if environ.get("SVC_INFRA_TRACEBACK"):
            raise
        print(f"error: {_message(error)}", file=sys.stderr)  # noqa: T201
        code = getattr(error, "exit_code", 1)
        sys.exit(code if isinstance(code, int) else 1)


def _message(error: BaseException) -> str:
    """Say what went wrong, without secrets; an error that is not ours is named with its class."""
    from svc_infra.dburl import redact

    origin = getattr(error, "orig", None)
    text = str(origin or error).strip() or type(error).__name__
    if not type(error).__module__.startswith("svc_infra."):
        text = f"{type(origin or error).__name__}: {text}"
    return redact(text)


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _summary(point: EntryPoint) -> str:
    return (point.dist.metadata["Summary"] if point.dist else None) or point.value
