"""Recognises connection poolers that give each transaction another server connection."""

from __future__ import annotations

from typing import NamedTuple

from svc_infra.dburl._database_url import Host

__all__ = ["HOSTED_POOLERS", "HostedPooler", "pooler_of"]


class HostedPooler(NamedTuple):
    """A platform's pooler in transaction mode, as its host names and ports tell it.

    Attributes:
        platform: Whose it is.
        suffix: How its host names end.
        port: The port on which it answers, or None if the host name alone tells.
        label: How the first label of its host names ends, or empty.
        keeps_statements: Whether it follows prepared statements from one server connection to the next, so that the
            driver's caches may stay on.
    """

    platform: str
    suffix: str
    port: int | None
    label: str = ""
    keeps_statements: bool = False


HOSTED_POOLERS = (
    # https://supabase.com/docs/guides/database/connecting-to-postgres: 6543 is transaction mode, 5432 session mode.
    HostedPooler("Supabase", ".pooler.supabase.com", 6543),
    HostedPooler("Supabase", ".supabase.co", 6543),
    # https://neon.com/docs/connect/connection-pooling: PgBouncer with max_prepared_statements.
    HostedPooler("Neon", ".neon.tech", None, "-pooler", keeps_statements=True),
    # https://learn.microsoft.com/azure/postgresql/flexible-server/concepts-pgbouncer
    HostedPooler("Azure", ".postgres.database.azure.com", 6432),
    # https://docs.digitalocean.com/products/databases/postgresql/how-to/manage-connection-pools/
    HostedPooler("DigitalOcean", ".db.ondigitalocean.com", 25061),
)
"""The hosted poolers that are recognised without ``?pgbouncer=true``."""


def pooler_of(hosts: tuple[Host, ...]) -> HostedPooler | None:
    """The hosted pooler that a host is, or None.

    Example:
        >>> pooler_of((("aws-0-eu-central-1.pooler.supabase.com", 6543),)).platform
        'Supabase'
    """
    host, port = hosts[0]
    if "." not in host:
        return None
    for pooler in HOSTED_POOLERS:
        is_host = host.lower().endswith(pooler.suffix) and host.partition(".")[0].lower().endswith(pooler.label)
        if is_host and (pooler.port is None or pooler.port == port):
            return pooler
    return None
