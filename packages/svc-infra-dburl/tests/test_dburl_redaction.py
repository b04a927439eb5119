"""Hiding secrets in texts and URLs."""

from __future__ import annotations

import copy
import pickle

import pytest
from sqlalchemy import URL, create_engine, make_url

from svc_infra.dburl import DatabaseUrlError, redact, resolve_url
from svc_infra.dburl.errors import InvalidUrl
from svc_infra.dburl.redaction import is_secret_name
from svc_infra.dburl.secret_url import SecretURL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p/w?x#y@h/db", "postgresql://u:***@h/db"),
        ("postgresql://:p@h/db", "postgresql://:***@h/db"),
        ("postgresql://h/db?password=p&sslmode=require", "postgresql://h/db?password=***&sslmode=require"),
        ("postgresql://h/db?sslpassword=p", "postgresql://h/db?sslpassword=***"),
        ("duckdb:///md:x?motherduck_token=p", "duckdb:///md:x?motherduck_token=***"),
        ("mssql:///?odbc_connect=PWD%3Dp", "mssql:///?odbc_connect=***"),
        ("jdbc:sqlserver://h;user=u;password=p;encrypt=true", "jdbc:sqlserver://h;user=u;password=***"),
        ("mongodb://u:p@h1,h2/?authSource=admin", "mongodb://u:***@h1,h2/?authSource=admin"),
        ("host=h password=p dbname=d", "host=h password=*** dbname=d"),
        ("host=h password='p \\' w' dbname=d", "host=h password=*** dbname=d"),
        ("DRIVER=x;UID=u;PWD={p;w}};x};Encrypt=yes", "DRIVER=x;UID=u;PWD=***"),
        ('{"username": "u", "password": "p\\"w"}', '{"username": "u", "password": "***"}'),
        ("from redis://:p@h/0 to postgresql://u:p@h/db", "from redis://:***@h/0 to postgresql://u:***@h/db"),
        ("connection to server at db.example.com failed", "connection to server at db.example.com failed"),
    ],
)
def test_redacts_texts(text: str, expected: str) -> None:
    """URLs, key=value lists, ODBC strings and JSON, alone or within a sentence."""
    assert redact(text) == expected


def test_redacts_parsed_urls() -> None:
    """Also of SQLAlchemy's own kind, whose repr shows the query."""
    url = make_url("postgresql://u:p@h/db?sslpassword=q&sslmode=require")
    assert redact(url) == "postgresql://u:***@h/db?sslmode=require&sslpassword=***"
    assert redact(make_url("postgresql://u:p@ss@h/db")) == "postgresql://u:***@h/db"


def test_redacts_the_secrets_of_an_odbc_string_alone() -> None:
    """Driver and server stay readable."""
    url = SecretURL.create("mssql+pyodbc", query={"odbc_connect": "DRIVER={x};SERVER=h;PWD={p;w};Encrypt=yes"})
    assert "Encrypt" in str(url)
    assert "p%3Bw" not in str(url)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("password", True),
        ("sslPassword", True),
        ("aws_session_token", True),
        ("client_secret", True),
        ("pwd", True),
        ("api-key", True),
        ("private_key", True),
        ("sslkey", False),
        ("keepalives", False),
        ("user", False),
        ("passfile", False),
    ],
)
def test_knows_names_of_secrets(name: str, expected: bool) -> None:
    """Names that speak of passwords, tokens and keys, not those of files that hold them."""
    assert is_secret_name(name) is expected


def test_a_secret_url_is_a_url() -> None:
    """It is equal to the plain one, has its hash, copies, and goes through engines hidden."""
    secret = resolve_url("sqlite:///a.db?timeout=5", environ={}, mode="sync").url
    plain = URL.create("sqlite", database="a.db", query={"timeout": "5"})
    assert secret == plain
    assert hash(secret) == hash(plain)
    assert copy.deepcopy(secret) == plain
    assert pickle.loads(pickle.dumps(secret)) == plain
    token = SecretURL.create("sqlite", database="a.db", query={"token": "hunter2", "uri": "true"})
    assert "hunter2" not in repr(create_engine(token))
    assert "hunter2" in token.render_as_string(hide_password=False)
    assert "hunter2" not in str(token.set(database="b.db"))


def test_an_error_survives_pickling() -> None:
    """Errors cross the border of processes whole."""
    error = InvalidUrl("SQL_URL", "is wrong", "Correct it")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.remedy) == (InvalidUrl, str(error), "Correct it")
    assert isinstance(again, DatabaseUrlError)
