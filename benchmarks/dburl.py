"""Resolving a database URL beside SQLAlchemy's `make_url`, which only parses it: at most three times its CPU time.

Files are read in neither; the environment is the process's own, with the settings unset as in most services. Each
ratio is that of the fastest of many short rounds, the two sides in turns, so that other load falls on both.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from time import process_time_ns

from sqlalchemy import make_url

from svc_infra.dburl import resolve_database_url, resolve_url

LIMIT = 3.0
ROUNDS, CALLS = 300, 100
URLS = {
    "postgresql, plain": "postgresql://u:p@h:5432/db",
    "postgresql, full": "postgresql+asyncpg://app:p%40ss@db.example.com:5432/app?sslmode=require&application_name=api",
    "postgresql, platform": "postgres://u:p@ec2-1.compute.amazonaws.com:5432/d3kjh4lk5?sslmode=require",
    "postgresql, psycopg": "postgresql+psycopg://app:secret@db.example.com/app?connect_timeout=5",
    "mysql": "mysql://app:secret@db.example.com:3306/app?charset=utf8mb4",
    "sqlite": "sqlite:///app.db",
    "snowflake": "snowflake://u:p%40@org-acct/db/sch?warehouse=w&role=r",
}


def fastest(*functions: Callable[[], object]) -> list[float]:
    """The CPU time of a call of each function in microseconds: the best of the rounds."""
    best = [float("inf")] * len(functions)
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for number, function in enumerate(functions):
                start = process_time_ns()
                for _ in range(CALLS):
                    function()
                best[number] = min(best[number], (process_time_ns() - start) / CALLS / 1000)
    finally:
        gc.enable()
    return best


def main() -> int:
    """Print the table; 1 when a ratio is above the limit."""
    print(f"{'':22} {'make_url':>10} {'resolve_url':>20} {'resolve_database_url':>24}   limit {LIMIT:g} x")
    worst = 0.0
    given = os.environ.get("SQL_URL")
    try:
        for name, url in URLS.items():
            os.environ["SQL_URL"] = url
            base, one, two = fastest(
                lambda url=url: make_url(url),  # type: ignore[misc]
                lambda url=url: resolve_url(url),  # type: ignore[misc]
                lambda: resolve_database_url(env_file=None),
            )
            worst = max(worst, one / base, two / base)
            print(f"{name:22} {base:7.1f} us {one:9.1f} us {one / base:4.2f} x {two:13.1f} us {two / base:4.2f} x")
    finally:
        if given is None:
            os.environ.pop("SQL_URL", None)
        else:
            os.environ["SQL_URL"] = given
    print(f"{'worst':22} {worst:.2f} x")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
