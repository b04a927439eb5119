"""Finds the database URL of a service and makes it one that its driver understands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NoReturn

from sqlalchemy import URL

from svc_infra.dburl._build import build_url, complete_url, wish_of, wished_driver
from svc_infra.dburl._drivers import is_installed
from svc_infra.dburl._environment import Environment, load_environment
from svc_infra.dburl._sources import direct, parts, pointers, secrets
from svc_infra.dburl._sources.finding import DIRECT_VARIABLES, Finding, Look, parse_text
from svc_infra.dburl.errors import NoDatabaseConfigured
from svc_infra.dburl.resolved import Origin, ResolvedUrl

__all__ = ["resolve_database_url", "resolve_url"]


def resolve_database_url(
    environ: Mapping[str, str] = os.environ,
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    secrets_dir: str | os.PathLike[str] | None = "/run/secrets",
    mode: Literal["async", "sync"] = "async",
    installed: Callable[[str], bool] = is_installed,
) -> ResolvedUrl:
    """Find the database URL of this service and make it one that its driver understands.

    Looked at in this order, the first hit counts:

    1. the variables SQL_URL, DB_URL, DATABASE_URL, DATABASE_URL_PRIVATE, PRIVATE_SQL_URL;
    2. the same with _FILE: the path of a file with the URL, or with the JSON of AWS Secrets Manager;
    3. the file ``database_url`` in `secrets_dir`;
    4. DB_DIALECT, DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD or DB_PASSWORD_FILE, DB_PARAMS.

    A blank variable counts as unset. A file that is named and missing, empty or unreadable is an error. Nothing is
    written back to the environment.

    Args:
        environ: The process environment; each of its variables beats the one in `env_file`.
        env_file: A .env file, by default the project's, or None for none.
        secrets_dir: Where Docker and Kubernetes mount secrets, or None to look at none.
        mode: Whether the URL is for an async or a sync engine.
        installed: Tells whether a module is installed, for the choice of the driver.

    Raises:
        NoDatabaseConfigured: No place holds anything.
        DatabaseUrlError: What was found is no usable URL; see `svc_infra.dburl.errors` for the kinds.
    """
    environment = load_environment(environ, env_file)
    looks: list[Look] = []
    finding = (
        direct.find(environment, looks)
        or pointers.find(environment, looks)
        or secrets.find(environment, secrets_dir, looks)
        or parts.find(environment, looks)
    )
    if finding is None:
        _nothing_found(environment, secrets_dir)
    return _resolve(finding, environment, mode, looks, installed)


def resolve_url(
    url: str | URL,
    *,
    environ: Mapping[str, str] = os.environ,
    mode: Literal["async", "sync"] = "async",
    source: str = "argument",
    installed: Callable[[str], bool] = is_installed,
) -> ResolvedUrl:
    """Make a given URL one that its driver understands, by the same rules and defaults as `resolve_database_url`.

    Args:
        url: The URL, as text or parsed by SQLAlchemy.
        environ: Where the DB_* settings (driver, TLS mode, timeout) are looked up; not the URL.
        mode: Whether the URL is for an async or a sync engine.
        source: What to call the URL in errors and explanations.
        installed: Tells whether a module is installed, for the choice of the driver.

    Raises:
        DatabaseUrlError: It is no usable URL; see `svc_infra.dburl.errors` for the kinds.
    """
    if isinstance(url, URL):
        from svc_infra.dburl._parsing_url import text_of

        url = text_of(url)
    environment = Environment(environ)
    finding = Finding(parse_text(url, source, environment), source)
    return _resolve(finding, environment, mode, [Look(source, "a URL")], installed)


def _resolve(
    finding: Finding,
    environment: Environment,
    mode: Literal["async", "sync"],
    looks: list[Look],
    installed: Callable[[str], bool],
) -> ResolvedUrl:
    parsed, place, read_password = finding
    notes: list[str] = []
    is_composed = place == parts.PLACE
    complete_url(parsed, environment, environment.place("DB_PARAMS") if is_composed else place, notes)
    wish = wish_of(parsed, environment, place, is_composed=is_composed)
    driver = wished_driver(parsed, wish, mode, installed)
    url, connect_args = build_url(parsed, driver, place, notes)
    return ResolvedUrl(
        url, connect_args, place, mode, read_password, Origin(parsed, driver, wish, looks, notes, installed)
    )


def _nothing_found(environment: Environment, secrets_dir: str | os.PathLike[str] | None) -> NoReturn:
    files = ", ".join(f"{name}_FILE" for name in DIRECT_VARIABLES)
    where = f"the environment and {environment.file_path}" if environment.file_path else "the environment"
    places = f"looked in {where} for {', '.join(DIRECT_VARIABLES)}, {files}"
    if secrets_dir is not None:
        places += f", then for the file {Path(secrets_dir, 'database_url')}"
    raise NoDatabaseConfigured(
        "no database configured",
        f"{places}, then for DB_HOST, DB_NAME and the other DB_* variables, and found none",
        "Set SQL_URL, e.g. to postgresql://app@db:5432/app",
    )
