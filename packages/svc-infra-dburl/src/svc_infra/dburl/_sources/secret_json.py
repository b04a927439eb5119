"""The JSON of AWS Secrets Manager for a database, as RDS, Redshift and their rotation functions write it.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
"""

from __future__ import annotations

import json
from typing import NoReturn

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._parsing import DIALECTS, MAX_CHARACTERS, parse_hosts, parse_port
from svc_infra.dburl.errors import IncompleteParts, UnreadableSource

__all__ = ["parse_secret_json"]

_ENGINES = {"aurora": "mysql", "aurora-mysql": "mysql", "aurora-postgresql": "postgresql"}
_REMEDY = 'Write {"engine": "postgres", "host": ..., "port": 5432, "username": ..., "password": ..., "dbname": ...}'


def parse_secret_json(text: str, place: str, environment: Environment) -> ParsedUrl:
    """Read the JSON of a secret; what it leaves out is taken from the DB_* variables.

    A secret that RDS manages holds user and password alone, so DB_HOST and DB_NAME have to be set beside it.

    Raises:
        UnreadableSource: It is not a JSON object of texts and numbers.
        IncompleteParts: Neither it nor the variables tell the host, name or engine.
    """
    if len(text) > MAX_CHARACTERS:
        _malformed(place, f"holds more than {MAX_CHARACTERS:,} characters")
    try:
        secret = json.loads(text)
    except (ValueError, RecursionError):
        secret = None
    if not isinstance(secret, dict):
        _malformed(place, "starts with { and is not JSON")
    fields: dict[str, str] = {}
    for name, value in secret.items():
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            fields[name] = str(value)

    def pick(names: str, variable: str | None = None) -> str | None:
        found = next((fields[name] for name in names.split() if fields.get(name, "").strip()), None)
        return environment.get(variable) if found is None and variable is not None else found

    engine = (pick("engine dialect", "DB_DIALECT") or "postgresql").lower()
    engine = _ENGINES.get(
        engine, engine.removesuffix(engine[engine.find("-") :]) if engine.startswith("sqlserver-") else engine
    )
    dialect = DIALECTS.get(engine)
    if dialect is None:
        raise UnreadableSource(place, "its engine is no database that is known here", _REMEDY)
    host, name = pick("host", "DB_HOST"), pick("dbname database dbName", "DB_NAME")
    missing = [label for label, value in (("host (or DB_HOST)", host), ("dbname (or DB_NAME)", name)) if value is None]
    if host is None or name is None:
        raise IncompleteParts(place, f"the JSON has no {' and no '.join(missing)}", _REMEDY)
    hosts = parse_hosts(host, dialect, place)
    port = parse_port((pick("port", "DB_PORT") or "").strip(), place)
    if port is not None:
        hosts = tuple((one, port if own is None else own) for one, own in hosts)
    password = pick("password")
    for value in (name, password, pick("username user")):
        if value is not None and "\x00" in value:
            _malformed(place, "holds a NUL character")
    return ParsedUrl(dialect, None, pick("username user"), password, hosts, None, None, name)


def _malformed(place: str, problem: str) -> NoReturn:
    raise UnreadableSource(place, problem, _REMEDY)
