"""`python -m svc_infra.dburl` is `svc-infra url`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit the process."""
    try:
        from svc_infra.dburl.cli import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("error: the command needs typer. Run pip install 'svc-infra-dburl[cli]'")
    app(prog_name="python -m svc_infra.dburl")


if __name__ == "__main__":
    main()
