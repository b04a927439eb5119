"""`svc-infra mongo`: whether the deployment answers, and its collections and indexes as declared."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import LockTimeout, MongoError
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase
from svc_infra.dburl import DatabaseUrlError

__all__ = ["app"]

T = TypeVar("T")

app: typer.Typer = typer.Typer(help="Work with MongoDB.", no_args_is_help=True, add_completion=False)

_PENDING, _LOCKED = 3, 4


@app.callback()
def main(context: typer.Context) -> None:
    """Work with MongoDB."""
    # `svc-infra --no-env`, or `--env-file`, whose variables are in the environment by now.
    context.obj = None if context.find_root().params.get("env") is False else ".env"
    logging.getLogger("svc_infra").addHandler(logging.NullHandler())


Url = Annotated[str | None, typer.Option("--mongo-url", help="Instead of MONGO_URL.")]
Db = Annotated[str | None, typer.Option("--db", help="Instead of MONGO_DB.")]
Json = Annotated[bool, typer.Option("--json", help="Write the answer as JSON to stdout.")]
Repositories = Annotated[
    str, typer.Argument(help="module:attribute of a repository, a list of them, or a module that holds some.")
]


@app.command()
def ping(
    context: typer.Context,
    mongo_url: Url = None,
    db: Db = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds to wait.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Say whether a server answers. Exit code 0 when it does, 1 when not."""
    settings = _settings(mongo_url, db or "admin", context.obj)

    async def run() -> str:
        mongo = Mongo(settings)
        try:
            await mongo.connect(timeout=timeout)
            info = await mongo.client().server_info()
            return str(info.get("version", "unknown"))
        finally:
            await mongo.close()

    version = _run(run)
    answer = {"ok": True, "url": settings.redacted_url, "version": version, "driver": settings.driver}
    typer.echo(json.dumps(answer) if as_json else f"{settings.redacted_url} answers: MongoDB {version}")


@app.command()
def prepare(
    context: typer.Context,
    repositories: Repositories,
    mongo_url: Url = None,
    db: Db = None,
    drop_extra: Annotated[bool, typer.Option("--drop-extra", help="Drop indexes that nobody declares.")] = False,
    lock_timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for another process.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Create the declared collections, validators and indexes. Exit code 4 when another process holds the lock."""
    settings = _settings(mongo_url, db, context.obj)
    _prepare(repositories, settings, dry_run=False, drop_extra=drop_extra, wait=lock_timeout, as_json=as_json)


@app.command()
def status(
    context: typer.Context, repositories: Repositories, mongo_url: Url = None, db: Db = None, as_json: Json = False
) -> None:
    """Say what `prepare` would do. Exit code 3 when there is something to do."""
    settings = _settings(mongo_url, db, context.obj)
    _prepare(repositories, settings, dry_run=True, drop_extra=False, wait=0, as_json=as_json)


def _prepare(
    reference: str,
    settings: MongoSettings,
    *,
    dry_run: bool,
    drop_extra: bool,
    wait: float,
    as_json: bool,
) -> None:
    from svc_infra.db.nosql.mongo.prepare import PrepareReport, prepare_mongo

    declared = _load(reference)

    async def work(database: MongoDatabase) -> PrepareReport:
        return await prepare_mongo(
            database, declared, dry_run=dry_run, drop_extra=drop_extra, lock_timeout_seconds=wait
        )

    async def run() -> PrepareReport:
        mongo = Mongo(settings)
        try:
            return await work(await mongo.connect())
        finally:
            await mongo.close()

    report = _run(run)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        for change in report.changes:
            typer.echo(str(change))
        if not report.changes:
            typer.echo("nothing to do")
    raise typer.Exit(_PENDING if report.pending else 0)


def _settings(url: str | None, db: str | None, env_file: str | None) -> MongoSettings:
    try:
        return MongoSettings(url=url, db_name=db, env_file=env_file)
    except (DatabaseUrlError, MongoError) as error:
        _fail(str(error), 1)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await work()

    try:
        return asyncio.run(main())
    except LockTimeout as error:
        _fail(str(error), _LOCKED)
    except MongoError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _load(reference: str) -> list[MongoRepository[Any]]:
    module_name, _, attribute = reference.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
        found: object = getattr(module, attribute) if attribute else vars(module).values()
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(f"{reference}: {error}", param_hint="REPOSITORIES") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if isinstance(found, MongoRepository):
        return [found]
    listed = list(found) if isinstance(found, Iterable) else []
    repositories = [item for item in listed if isinstance(item, MongoRepository)]
    if not repositories:
        raise typer.BadParameter(f"{reference} holds no MongoRepository", param_hint="REPOSITORIES")
    return repositories
