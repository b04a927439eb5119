"""The variables of a service: those of the process, and behind them those of its .env file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from svc_infra.dburl._environment import load_environment

__all__ = ["read_variables"]


def read_variables(
    environ: Mapping[str, str] = os.environ, *, env_file: str | os.PathLike[str] | None = ".env"
) -> Mapping[str, str]:
    """Return the variables as `resolve_database_url` sees them, for settings that stand beside the URL.

    Without a .env file it is *environ* itself, else a copy. Nothing is written back to the environment.

    Args:
        environ: The process environment; each of its variables that is not blank beats the one in `env_file`.
        env_file: A .env file; a relative one is looked for from the working folder up to the project's root. None for
            none.

    Raises:
        UnreadableSource: The .env file is there but can't be read.

    Example:
        >>> read_variables({"DB_POOL_SIZE": "7"}, env_file=None)["DB_POOL_SIZE"]
        '7'
    """
    file = load_environment(environ, env_file).file
    if file is None:
        return environ
    return {**file, **{name: value for name, value in environ.items() if value.strip()}}
