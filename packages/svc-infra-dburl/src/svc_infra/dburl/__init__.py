"""Database URLs from any environment: the right driver, TLS and connect arguments, or a clear error.

Example:
    >>> from svc_infra.dburl import resolve_database_url
    >>> environ = {"DATABASE_URL": "postgres://app:secret@db.example.com/app"}
    >>> resolved = resolve_database_url(environ, env_file=None, secrets_dir=None, installed=lambda module: True)
    >>> resolved.url
    postgresql+asyncpg://app:***@db.example.com/app
    >>> resolved.connect_args
    {'ssl': 'require', 'timeout': 10}

Importing this package loads no driver.
"""

from __future__ import annotations

from svc_infra.dburl.errors import DatabaseUrlError, MissingDriver, NoDatabaseConfigured
from svc_infra.dburl.redaction import redact
from svc_infra.dburl.resolution import resolve_database_url, resolve_url
from svc_infra.dburl.resolved import ResolvedUrl

__all__ = [
    "DatabaseUrlError",
    "MissingDriver",
    "NoDatabaseConfigured",
    "ResolvedUrl",
    "redact",
    "resolve_database_url",
    "resolve_url",
]
