"""The command `svc-infra url`: explains how the database URL was found, and tries it out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import typer

from svc_infra.dburl._environment import Environment, load_environment
from svc_infra.dburl._explaining import describe, table
from svc_infra.dburl._survey import survey
from svc_infra.dburl.checking import Step, check_url
from svc_infra.dburl.errors import DatabaseUrlError
from svc_infra.dburl.redaction import redact
from svc_infra.dburl.resolution import resolve_database_url, resolve_url
from svc_infra.dburl.resolved import ResolvedUrl
from svc_infra.dburl.variables import read_variables

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    name="url",
    help="Explain how the database URL is found, and try it out.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonFlag: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModeOption: TypeAlias = Annotated[
    Literal["async", "sync"], typer.Option(help="The kind of engine that the URL is for.")
]
UrlOption: TypeAlias = Annotated[
    str | None, typer.Option("--database-url", help="Take this URL instead of looking for one.")
]
EnvFileOption: TypeAlias = Annotated[str, typer.Option(help="The .env file to read; an empty text for none.")]
SecretsOption: TypeAlias = Annotated[str, typer.Option(help="Where secrets are mounted.")]


@dataclass(frozen=True)
class _Question:
    """What the options ask for."""

    url: str | None
    mode: Literal["async", "sync"]
    env_file: str
    secrets_dir: str
    is_json: bool

    def environment(self) -> Environment:
        return load_environment(os.environ, self.env_file or None)

    def resolve(self) -> ResolvedUrl:
        if self.url is not None:
            variables = read_variables(env_file=self.env_file or None)
            return resolve_url(self.url, environ=variables, mode=self.mode, source="--database-url")
        return resolve_database_url(
            os.environ, env_file=self.env_file or None, secrets_dir=self.secrets_dir, mode=self.mode
        )

    def places(self) -> list[tuple[str, str]]:
        if self.url is not None:
            return [("--database-url", "a URL, used")]
        return survey(self.environment(), self.secrets_dir)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    database_url: UrlOption = None,
    mode: ModeOption = "async",
    env_file: EnvFileOption = ".env",
    secrets_dir: SecretsOption = "/run/secrets",
    as_json: JsonFlag = False,
) -> None:
    """Print every place looked at, in order, and the URL, driver and connect arguments that come of it.

    Secrets are hidden. Exits with 0 if there is a usable URL, with 1 if not.
    """
    # `svc-infra --no-env`, or `svc-infra --env-file`, whose variables are in the environment by now.
    if context.find_root().params.get("env") is False and env_file == ".env":
        env_file = ""
    context.obj = question = _Question(database_url, mode, env_file, secrets_dir, as_json)
    if context.invoked_subcommand is None:
        _answer(question, None)


@app.command()
def check(
    context: typer.Context,
    database_url: UrlOption = None,
    mode: Annotated[
        Literal["async", "sync"] | None, typer.Option(help="The kind of engine that the URL is for.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds that each step may take.")] = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Resolve the name, open TCP and TLS, log in and ask for the version; say what to do if a step fails.

    Exits with 0 if all went well, with 1 if not.
    """
    given: _Question = context.obj
    question = _Question(
        given.url if database_url is None else database_url,
        mode or given.mode,
        given.env_file,
        given.secrets_dir,
        as_json or given.is_json,
    )
    _answer(question, lambda resolved: check_url(resolved, timeout=timeout))


def _answer(question: _Question, check: Callable[[ResolvedUrl], list[Step]] | None) -> None:
    places: list[tuple[str, str]] = []
    try:
        places = question.places()
        resolved = question.resolve()
    except DatabaseUrlError as error:
        _refuse(question, places, error)
        raise typer.Exit(1) from None
    steps = check(resolved) if check is not None else []
    ok = all(step.ok is not False for step in steps)
    if question.is_json:
        answer: dict[str, object] = {"ok": ok, "error": None, **resolved.as_dict(), "looked_at": _rows(places)}
        if check is not None:
            answer["steps"] = [step.as_dict() for step in steps]
        typer.echo(redact(json.dumps(answer, indent=2)))
    else:
        lines = ["looked at:", *table(places), "result:", *describe(resolved)]
        if check is not None:
            lines += ["checks:", *_lines(steps)]
        typer.echo(redact("\n".join(lines)))
    if not ok:
        raise typer.Exit(1)


def _refuse(question: _Question, places: list[tuple[str, str]], error: DatabaseUrlError) -> None:
    if question.is_json:
        told = {"kind": type(error).__name__, "place": error.place, "problem": error.problem, "remedy": error.remedy}
        typer.echo(redact(json.dumps({"ok": False, "error": told, "looked_at": _rows(places)}, indent=2)))
        return
    if places:
        typer.echo(redact("\n".join(["looked at:", *table(places)])))
    typer.echo(f"error: {error}", err=True)


def _rows(places: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"place": place, "found": found} for place, found in places]


def _lines(steps: list[Step]) -> list[str]:
    words = {True: "ok", False: "FAILED", None: "-"}
    lines = []
    for step in steps:
        lines.append(f"  {words[step.ok]:<6}  {step.name:<7}  {step.milliseconds:8.1f} ms  {step.detail}")
        if step.remedy:
            lines.append(f"          what to do: {step.remedy}")
    return lines
