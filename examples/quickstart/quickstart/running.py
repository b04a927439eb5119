"""One run of the quick start, with the libraries' errors turned into one line each."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from quickstart.database import Target, prepare, reset
from quickstart.dataset import Dataset, DatasetError
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.errors import SqlError
from svc_infra.dburl import DatabaseUrlError

__all__ = ["run", "start_over"]

EXPECTED_ERRORS = (DatabaseUrlError, DatasetError, MigrationError, SqlError)

ANNOUNCEMENT = """
  Flights from New York in 2013, out of {database}

    {base}/docs                                           every route, ready to try
    {base}/airlines                                       a small table
    {base}/airports?q=kennedy                             search
    {base}/flights?dep_delay__gt=600&order_by=-dep_delay  delays above ten hours, the longest first
    {base}/flights?limit=50&offset=100                    the third page
    {base}/planes/N10156                                  one plane
    {base}/health                                         is the database there?

  curl -X POST {base}/airlines -H 'content-type: application/json' -d '{{"carrier": "ZZ", "name": "Zeppelin"}}'
  curl -X PATCH {base}/airlines/ZZ -H 'content-type: application/json' -d '{{"name": "Zeppelin Lines"}}'
  curl -X DELETE {base}/airlines/ZZ

  Ctrl-C stops it, `make demo-reset` starts over.
"""


def run(listener: socket.socket, data: Path | None, environ: Mapping[str, str]) -> int:
    """Prepare the database and answer requests on *listener* until Ctrl-C; return the exit code."""
    try:
        target = Target.choose(environ)
        asyncio.run(prepare(target, Dataset(data) if data else Dataset.installed()))
    except EXPECTED_ERRORS as error:
        return _fail(error)
    # The web framework is loaded once the database is ready.
    from quickstart.app import create_app
    from quickstart.server import serve

    host, port = listener.getsockname()[:2]
    announcement = ANNOUNCEMENT.format(base=f"http://{host}:{port}", database=target.resolved.url)
    return 0 if serve(create_app(target.url), listener, announcement) else 1


def start_over(environ: Mapping[str, str]) -> int:
    """Drop the tables and return the exit code."""
    try:
        asyncio.run(reset(Target.choose(environ)))
    except EXPECTED_ERRORS as error:
        return _fail(error)
    return 0


def _fail(error: Exception) -> int:
    print(f"quickstart: {error}", file=sys.stderr)
    return 1
