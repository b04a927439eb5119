"""What holds for every secret, wherever it stands: no output and no error shows it.

The default run tries some hundred examples of each property, the soak run 10,000.
"""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from svc_infra.dburl import DatabaseUrlError, ResolvedUrl, redact, resolve_database_url, resolve_url
from svc_infra.dburl.mongo import resolve_mongo_url

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FEW = settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=SLOW)

MARKER = "Qmarkerq"
# Characters that mean something in a URL, and some that need encoding.
SPECIAL = st.text(alphabet=":/?#[]@!$&'()*+,;=%{}|\\^`\"<> ~.-_aB0\u00e9\u4e2d\U0001f511", max_size=8)
SECRETS = st.builds(lambda before, after: f"{before}{MARKER}{after}", SPECIAL, SPECIAL)
SERVER_SCHEMES = (
    "postgresql",
    "postgres",
    "postgresql+psycopg",
    "mysql",
    "mariadb",
    "mssql",
    "mssql+aioodbc",
    "snowflake",
)


def everything(module: str) -> bool:
    return True


def odbc(secret: str) -> str:
    return quote(
        "DRIVER={ODBC Driver 18 for SQL Server};SERVER=h;UID=u;PWD={" + secret.replace("}", "}}") + "};Encrypt=yes"
    )


# Each place where a secret can stand in a URL: in its right form, and as people write it by mistake.
URL_PLACES: dict[str, Callable[[str, str], str]] = {
    "password": lambda scheme, secret: f"{scheme}://u:{quote(secret, safe='')}@h:1234/db",
    "password_raw": lambda scheme, secret: f"{scheme}://u:{secret}@h:1234/db",
    "password_raw_without_path": lambda scheme, secret: f"{scheme}://u:{secret}@h",
    "password_raw_with_query": lambda scheme, secret: f"{scheme}://u:{secret}@h/db?application_name=x",
    "password_without_host": lambda scheme, secret: f"{scheme}://u:{secret}",
    "password_for_port": lambda scheme, secret: f"{scheme}://h:{secret}/db",
    "query_password": lambda scheme, secret: f"{scheme}://h/db?user=u&password={quote(secret, safe='')}",
    "query_password_raw": lambda scheme, secret: f"{scheme}://h/db?user=u&password={secret}",
    "both_passwords": lambda scheme, secret: f"{scheme}://u:other@h/db?password={quote(secret, safe='')}",
    "key_password": lambda scheme, secret: (
        f"{scheme}://u:p@h/db?sslmode=verify-full&sslpassword={quote(secret, safe='')}"
    ),
    "unknown_secret": lambda scheme, secret: f"{scheme}://u:p@h/db?api_token={quote(secret, safe='')}",
    "odbc": lambda scheme, secret: f"mssql+pyodbc:///?odbc_connect={odbc(secret)}",
    "motherduck": lambda scheme, secret: f"duckdb:///md:x?motherduck_token={quote(secret, safe='')}",
    "jdbc": lambda scheme, secret: f"jdbc:sqlserver://h:1433;databaseName=d;user=u;password={secret.replace(';', '')}",
    "unknown_scheme": lambda scheme, secret: f"postgress://u:{secret}@h/db",
    "no_scheme": lambda scheme, secret: f"u:{secret}@h/db",
    "keys_and_values": lambda scheme, secret: f"host=h password={secret} dbname=d",
    "alone": lambda scheme, secret: secret,
    "json": lambda scheme, secret: json.dumps(
        {"engine": "postgres", "host": "h", "dbname": "d", "username": "u", "password": secret}
    ),
    "json_cut": lambda scheme, secret: json.dumps({"password": secret, "host": "h"})[:-1],
}


def outputs(found: ResolvedUrl) -> list[str]:
    """All that people or logs may get to see of a result."""
    return [
        repr(found),
        str(found),
        found.explain(),
        found.render(),
        str(found.url),
        repr(found.url),
        f"{found.url}",
        repr(found.connect_args),
        str(found.connect_args),
        "".join(found.notes),
        repr(found.password),
        found.source,
        redact(found.url),
        json.dumps(found.as_dict()),
        repr(found.with_mode("sync").connect_args),
    ]


def shown_by(error: BaseException) -> list[str]:
    """All that an error shows, its causes included."""
    shown: list[str] = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        shown += [str(seen), repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return shown


def check_nothing_leaks(resolve: Callable[[], Any], look: Callable[[Any], list[str]] = outputs) -> None:
    try:
        found = resolve()
    except DatabaseUrlError as error:
        shown = shown_by(error)
    else:
        shown = look(found)
    for text in shown:
        assert MARKER not in text


def leak_from_url(place: str, scheme: str, secret: str, mode: Any) -> None:
    if place in {"password_without_host", "password_for_port"} and (secret[0] in "/?" or set("@,") & set(secret)):
        return  # this is the address of a database, and no reader could know better
    text = URL_PLACES[place](scheme, secret)
    check_nothing_leaks(lambda: resolve_url(text, environ={}, mode=mode, installed=everything))


LEAKS = given(
    st.sampled_from(sorted(URL_PLACES)), st.sampled_from(SERVER_SCHEMES), SECRETS, st.sampled_from(["async", "sync"])
)


@FEW
@LEAKS
@example("password_raw", "postgresql", f"a@{MARKER}", "async")
@example("password_raw", "postgresql", f"a@{MARKER}/b", "async")
@example("password_raw", "postgresql", f"a@{MARKER}?b", "async")
@example("password_raw", "postgresql", f"1?{MARKER}=2", "async")
@example("password_raw", "postgresql", f"{MARKER}://x", "async")
@example("query_password_raw", "postgresql", f"a&{MARKER}=b", "async")
@example("query_password_raw", "postgresql", f"a&{MARKER}", "async")
@example("query_password_raw", "postgresql", f"&x.{MARKER}=0", "async")
@example("query_password_raw", "snowflake", f"&{MARKER}=0", "async")
@example("password_raw", "snowflake", f"?={MARKER}", "async")
@example("password_raw", "snowflake", f"?x={MARKER}", "async")
@example("password_raw", "snowflake", f"/?x={MARKER}", "async")
@example("odbc", "mssql", f"a;{MARKER}}}b", "async")
def test_no_output_shows_a_secret_of_the_url(place: str, scheme: str, secret: str, mode: str) -> None:
    """Wherever a secret stands in a URL, no result, text, error or JSON repeats it."""
    leak_from_url(place, scheme, secret, mode)


@pytest.mark.soak
@MANY
@LEAKS
def test_no_output_shows_a_secret_of_the_url_in_the_long_run(place: str, scheme: str, secret: str, mode: str) -> None:
    """As above, 10,000 times."""
    leak_from_url(place, scheme, secret, mode)


# Each place where a secret can stand in the environment; FILE is the path of a file that holds the second value.
ENVIRONMENTS: dict[str, Callable[[str], tuple[dict[str, str], str]]] = {
    "direct": lambda secret: ({"DATABASE_URL": f"postgresql://u:{quote(secret, safe='')}@h/db"}, ""),
    "direct_raw": lambda secret: ({"DATABASE_URL": f"postgresql://u:{secret}@h/db"}, ""),
    "file": lambda secret: ({"SQL_URL_FILE": "FILE"}, f"postgresql://u:{quote(secret, safe='')}@h/db\n"),
    "file_raw": lambda secret: ({"SQL_URL_FILE": "FILE"}, f"postgresql://u:{secret}@h/db\n"),
    "file_of_secret": lambda secret: ({"SQL_URL_FILE": "FILE"}, secret),
    "path": lambda secret: ({"SQL_URL_FILE": f"postgresql://u:{secret}@h/db"}, ""),
    "password": lambda secret: ({"DB_HOST": "h", "DB_NAME": "d", "DB_USER": "u", "DB_PASSWORD": secret}, ""),
    "password_file": lambda secret: (
        {"DB_HOST": "h", "DB_NAME": "d", "DB_USER": "u", "DB_PASSWORD_FILE": "FILE"},
        secret,
    ),
    "password_path": lambda secret: ({"DB_HOST": "h", "DB_NAME": "d", "DB_PASSWORD_FILE": secret.lstrip("/.~\\ ")}, ""),
    "parameters": lambda secret: (
        {"DB_HOST": "h", "DB_NAME": "d", "DB_PARAMS": f"password={quote(secret, safe='')}"},
        "",
    ),
    "parameters_raw": lambda secret: ({"DB_HOST": "h", "DB_NAME": "d", "DB_PARAMS": f"password={secret}"}, ""),
    "host": lambda secret: ({"DB_HOST": f"postgresql://u:{secret}@h", "DB_NAME": "d"}, ""),
    "incomplete": lambda secret: ({"DB_USER": "u", "DB_PASSWORD": secret}, ""),
}


def leak_from_environment(place: str, secret: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environ, content = ENVIRONMENTS[place](secret)
        path = Path(folder, "secret")
        path.write_text(content, encoding="utf-8", newline="")
        environ = {name: value.replace("FILE", str(path)) for name, value in environ.items()}
        check_nothing_leaks(
            lambda: resolve_database_url(environ, env_file=None, secrets_dir=folder, installed=everything)
        )


@FEW
@given(st.sampled_from(sorted(ENVIRONMENTS)), SECRETS)
def test_no_output_shows_a_secret_of_the_environment(place: str, secret: str) -> None:
    """Wherever a secret stands in variables and files, no result, text, error or JSON repeats it."""
    leak_from_environment(place, secret)


@pytest.mark.soak
@MANY
@given(st.sampled_from(sorted(ENVIRONMENTS)), SECRETS)
def test_no_output_shows_a_secret_of_the_environment_in_the_long_run(place: str, secret: str) -> None:
    """As above, 10,000 times."""
    leak_from_environment(place, secret)


@FEW
@given(
    st.sampled_from(
        [
            "{}",
            "{}@h",
            "u:{}@h/db",
            "u:p@h/?tlsCertificateKeyFilePassword={}",
            "u:p@h/?authMechanismProperties=AWS_SESSION_TOKEN:{}",
        ]
    ),
    SECRETS,
    st.booleans(),
)
def test_no_output_shows_a_secret_of_a_mongo_url(shape: str, secret: str, is_escaped: bool) -> None:
    """The same for MongoDB."""
    if shape in {"{}", "{}@h"}:
        secret = "u:" + secret.replace("@", "").lstrip("/?")
    rest = shape.format(quote(secret, safe=":") if is_escaped else secret)
    check_nothing_leaks(
        lambda: resolve_mongo_url({"MONGO_URL": f"mongodb://{rest}", "MONGO_DB": "d"}, env_file=None, secrets_dir=None),
        lambda found: [repr(found), str(found), found.explain(), redact(found.url)],
    )
