"""`svc-infra health`: check once, wait, or verify backups, from a shell, an init container or cron."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from svc_infra.dburl.variables import read_variables
from svc_infra.health.check import Check
from svc_infra.health.checks.database import check_database
from svc_infra.health.checks.disk import check_disk
from svc_infra.health.checks.http import check_http
from svc_infra.health.checks.mongo import check_mongo
from svc_infra.health.checks.redis import check_redis
from svc_infra.health.errors import NotHealthy
from svc_infra.health.registry import HealthRegistry
from svc_infra.health.report import HealthReport

__all__ = ["app"]

app: typer.Typer = typer.Typer(help="Check what a service depends on.", no_args_is_help=True, add_completion=False)


@app.callback()
def main(context: typer.Context) -> None:
    """Check what a service depends on."""
    # `svc-infra --no-env`, or `--env-file`, whose variables are in the environment by now.
    context.obj = None if context.find_root().params.get("env") is False else ".env"
    # What fails is part of the output; without this Python would write the log's warnings to stderr as well.
    logging.getLogger("svc_infra").addHandler(logging.NullHandler())


App = Annotated[
    str | None, typer.Option("--app", help="module:attribute of a HealthRegistry, or of a function that returns one.")
]
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="Check this SQL database.")]
MongoUrl = Annotated[str | None, typer.Option("--mongo-url", help="Check this MongoDB deployment.")]
RedisUrl = Annotated[str | None, typer.Option("--redis-url", help="Check this Redis server.")]
Http = Annotated[list[str] | None, typer.Option("--http", help="Check this HTTP address; may be repeated.")]
Disk = Annotated[list[Path] | None, typer.Option("--disk", help="Check the space left here; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Write the report as JSON to stdout.")]
CheckTimeout = Annotated[float, typer.Option("--check-timeout", min=0.01, help="Seconds that each check may take.")]


@app.command()
def check(
    context: typer.Context,
    registry: App = None,
    database_url: DatabaseUrl = None,
    mongo_url: MongoUrl = None,
    redis_url: RedisUrl = None,
    http: Http = None,
    disk: Disk = None,
    check_timeout: CheckTimeout = 5.0,
    as_json: Json = False,
) -> None:
    """Check once. Exit code 0 when everything critical is up, 1 when not.

    Without options, what the environment configures is checked: the SQL database, MONGO_URL and REDIS_URL.
    """
    checks = _registry(registry, database_url, mongo_url, redis_url, http, disk, check_timeout, env_file=context.obj)

    async def run() -> HealthReport:
        async with checks:
            return await checks.run()

    report = asyncio.run(run())
    _show(report, as_json=as_json)
    raise typer.Exit(0 if report.healthy else 1)


@app.command()
def wait(
    context: typer.Context,
    registry: App = None,
    database_url: DatabaseUrl = None,
    mongo_url: MongoUrl = None,
    redis_url: RedisUrl = None,
    http: Http = None,
    disk: Disk = None,
    check_timeout: CheckTimeout = 5.0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 60.0,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between attempts at most.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Wait until everything critical is up. Exit code 0 when it is, 1 when the time is up or waiting can't help."""
    checks = _registry(registry, database_url, mongo_url, redis_url, http, disk, check_timeout, env_file=context.obj)
    last = ""

    def progress(report: HealthReport) -> None:
        nonlocal last
        if not report.healthy and report.summary() != last:
            last = report.summary()
            typer.echo(f"waiting: {last}", err=True)

    async def run() -> HealthReport:
        async with checks:
            return await checks.wait_until_healthy(timeout=timeout, interval=interval, on_attempt=progress)

    try:
        report = asyncio.run(run())
    except NotHealthy as error:
        if as_json:
            _show(error.report, as_json=True)
        _fail(str(error))
    _show(report, as_json=as_json)


@app.command()
def backups(
    path: Annotated[Path, typer.Argument(help="A folder of backups, or one file.")] = Path("/backups"),
    max_age_hours: Annotated[float, typer.Option(min=0, help="The newest may be this old.")] = 24.0,
    pattern: Annotated[str, typer.Option(help="Only names that match this glob.")] = "*",
    min_size: Annotated[int, typer.Option(min=0, help="Bytes that the newest must have.")] = 1,
    require_checksum: Annotated[bool, typer.Option(help="A missing checksum file is a problem.")] = False,
    contents: Annotated[bool, typer.Option(help="Read the backup to its end.")] = True,
    restore_into: Annotated[
        str | None, typer.Option(help="Server URL: restore into a scratch database there, count, drop it.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for all of it.")] = 600.0,
    as_json: Json = False,
) -> None:
    """Verify the newest backup: age, size, checksum, contents. Exit code 0 when it is good, 1 when not."""
    from svc_infra.data.lifecycle import verify_backups

    report = asyncio.run(
        verify_backups(
            max_age_hours,
            path,
            pattern=pattern,
            min_size_bytes=min_size,
            checksum="required" if require_checksum else "if-present",
            contents=contents,
            restore_into=restore_into,
            timeout_seconds=timeout,
        )
    )
    typer.echo(json.dumps(report.to_dict()) if as_json else str(report))
    raise typer.Exit(0 if report.healthy else 1)


def _registry(
    registry: str | None,
    database_url: str | None,
    mongo_url: str | None,
    redis_url: str | None,
    http: list[str] | None,
    disk: list[Path] | None,
    check_timeout: float,
    *,
    env_file: str | None,
    environ: Mapping[str, str] = os.environ,
) -> HealthRegistry:
    if registry is not None:
        return _load(registry)
    made = HealthRegistry()
    if not any((database_url, mongo_url, redis_url, http, disk)):
        variables = read_variables(environ, env_file=env_file)
        if database := _configured_database(environ, env_file):
            made.add("database", database, timeout=check_timeout)
        if variables.get("MONGO_URL") or variables.get("MONGO_URL_FILE"):
            made.add("mongo", check_mongo(None, environ=variables), timeout=check_timeout)
        if variables.get("REDIS_URL"):
            made.add("redis", check_redis(variables["REDIS_URL"]), timeout=check_timeout)
        if not made.names:
            _fail(
                "nothing to check: no option was given, and neither a database URL (SQL_URL, DATABASE_URL, DB_HOST ...)"
                " nor MONGO_URL nor REDIS_URL is set"
            )
        return made
    if database_url:
        made.add("database", check_database(database_url), timeout=check_timeout)
    if mongo_url:
        made.add("mongo", check_mongo(mongo_url), timeout=check_timeout)
    if redis_url:
        made.add("redis", check_redis(redis_url), timeout=check_timeout)
    for number, address in enumerate(http or (), 1):
        made.add(f"http {number}", check_http(address), timeout=check_timeout)
    for folder in disk or ():
        made.add(f"disk {folder}", check_disk(folder), timeout=check_timeout)
    return made


def _configured_database(environ: Mapping[str, str], env_file: str | None) -> Check | None:
    """Return the check of the configured database, or None when there is none."""
    from svc_infra.dburl import DatabaseUrlError, NoDatabaseConfigured, resolve_database_url

    try:
        return check_database(resolve_database_url(environ, env_file=env_file))
    except NoDatabaseConfigured:
        return None
    except DatabaseUrlError as error:
        problem = error

    def fail() -> None:
        raise problem  # the configuration names a database, wrongly: the report says how

    return fail


def _load(reference: str) -> HealthRegistry:
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise typer.BadParameter(f"{reference!r} is not module:attribute", param_hint="--app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(f"{reference}: {error}", param_hint="--app") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(found, HealthRegistry) and callable(found):
        found = found()
    if not isinstance(found, HealthRegistry):
        raise typer.BadParameter(f"{reference} is {type(found).__name__}, not a HealthRegistry", param_hint="--app")
    return found


def _show(report: HealthReport, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_dict(details=True)))
        return
    for name, result in report.checks.items():
        line = f"{name}: {result.status} ({result.duration_seconds * 1000:.0f} ms)"
        if not result.healthy:
            line += f" {result.reason}: {result.detail}"
        typer.echo(line)
    typer.echo(report.status)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)
