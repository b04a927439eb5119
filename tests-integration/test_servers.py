"""The servers of the test fixtures: they start, keep databases apart, come back after a crash, and leave nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymongo
import pymysql
import pytest
import redis

from dbservers.errors import ServerMissing
from dbservers.mongo import MongoServer
from dbservers.mysql import MysqlServer, MysqlTlsServer
from dbservers.pgbouncer import PgBouncer
from dbservers.postgres import PostgresReplica, PostgresServer, PostgresTlsServer
from dbservers.process import run
from dbservers.redis import RedisServer
from dbservers.workspace import Workspace


def query(url: str, statement: str, **options: Any) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True, connect_timeout=30, **options) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def connect_mysql(url: str, **options: Any) -> pymysql.Connection:
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path.lstrip("/"),
        connect_timeout=30,
        **options,
    )


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_an_empty_postgres_database(postgres_url: str, round_: int) -> None:
    """What one test creates, the next doesn't see."""
    query(postgres_url, "CREATE TABLE things (id int)")


def test_postgres_databases_belong_to_a_role_that_row_security_binds(postgres_url: str) -> None:
    """The role is no superuser, creates tables and databases."""
    assert query(
        postgres_url, "SELECT rolsuper, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ) == [(False, True, False)]


def test_postgres_text_is_utf8_beyond_ascii(postgres_url: str) -> None:
    """Letters beyond ASCII have upper and lower case, as in production."""
    assert query(postgres_url, "SELECT 'É' ILIKE 'é', current_setting('server_encoding')") == [(True, "UTF8")]


def test_the_administrator_reaches_the_same_postgres_database(postgres_url: str, postgres_admin_url: str) -> None:
    """`postgres_admin_url` is the superuser in the database of `postgres_url`."""
    query(postgres_url, "CREATE TABLE things (id int)")
    assert query(
        postgres_admin_url,
        "SELECT rolsuper FROM pg_roles, things RIGHT JOIN (SELECT 1) AS one ON true WHERE rolname = current_user",
    ) == [(True,)]


def test_a_dropped_postgres_database_takes_its_connections_along(postgres_server: PostgresServer) -> None:
    """A test that leaks a connection doesn't break the next one."""
    url = postgres_server.create_database()
    with psycopg.connect(url) as leaked:
        postgres_server.drop_database(url)
        with pytest.raises(psycopg.OperationalError):
            leaked.execute("SELECT 1")


def test_postgres_keeps_committed_rows_through_a_crash(own_postgres: PostgresServer) -> None:
    """SIGKILL and start: the same port, the same rows; meanwhile nobody listens."""
    url = own_postgres.create_database()
    query(url, "CREATE TABLE things AS SELECT 1 AS id")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        query(url, "SELECT 1")
    own_postgres.start()
    assert query(url, "SELECT id FROM things") == [(1,)]


def test_a_killed_postgres_ends_running_statements_at_once(own_postgres: PostgresServer) -> None:
    """A backend that is busy dies with the server, as on a machine that crashed."""
    url = own_postgres.create_database()
    with psycopg.connect(url) as connection:
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 10000000000)")
        own_postgres.kill()
        result = connection.pgconn.get_result()
        assert result is None or result.status == psycopg.pq.ExecStatus.FATAL_ERROR


def test_a_replica_follows_its_primary_and_refuses_writes(postgres_replica: PostgresReplica) -> None:
    """Rows arrive on the replica, which is read only."""
    primary, replica = postgres_replica.create_database()
    query(primary, "CREATE TABLE things AS SELECT 1 AS id")
    postgres_replica.wait_until_caught_up()
    assert query(replica, "SELECT id FROM things") == [(1,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        query(replica, "INSERT INTO things VALUES (2)")


def test_a_killed_replica_comes_back_and_catches_up(postgres_replica: PostgresReplica) -> None:
    """The primary works on without it; started again, it has what it missed."""
    primary, replica = postgres_replica.create_database()
    postgres_replica.replica.kill()
    query(primary, "CREATE TABLE things AS SELECT 1 AS id")
    postgres_replica.replica.start()
    postgres_replica.wait_until_caught_up()
    assert query(replica, "SELECT id FROM things") == [(1,)]


def test_a_paused_replica_lags(postgres_replica: PostgresReplica) -> None:
    """With replay paused the replica doesn't show new rows."""
    primary, replica = postgres_replica.create_database()
    query(primary, "CREATE TABLE things (id int)")
    postgres_replica.wait_until_caught_up()
    postgres_replica.pause_replay()
    query(primary, "INSERT INTO things VALUES (1)")
    assert query(replica, "SELECT id FROM things") == []
    postgres_replica.resume_replay()
    postgres_replica.wait_until_caught_up()
    assert query(replica, "SELECT id FROM things") == [(1,)]


def test_postgres_with_tls_verifies_by_its_authority_and_name(
    postgres_tls_server: PostgresTlsServer, postgres_tls_url: str
) -> None:
    """verify-full passes with the right authority and host name, and with those only."""
    certificates = postgres_tls_server.certificates
    full = {"sslmode": "verify-full", "sslrootcert": str(certificates.ca_path)}
    assert query(postgres_tls_url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", **full) == [(True,)]
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        query(postgres_tls_url, "SELECT 1", **{**full, "sslrootcert": str(certificates.wrong_ca_path)})
    with pytest.raises(psycopg.OperationalError, match=certificates.wrong_host_name):
        query(postgres_tls_url, "SELECT 1", **full, host=certificates.wrong_host_name)


def test_postgres_with_tls_refuses_plain_connections(postgres_tls_url: str) -> None:
    """A client that falls back to plain text is found out."""
    with pytest.raises(psycopg.OperationalError, match=r"no encryption|rejects"):
        query(postgres_tls_url, "SELECT 1", sslmode="disable")


def test_a_client_certificate_logs_in(postgres_tls_server: PostgresTlsServer) -> None:
    """``certuser`` needs no password."""
    certificates = postgres_tls_server.certificates
    url = f"postgresql://certuser@localhost:{postgres_tls_server.port}/postgres"
    assert query(
        url,
        "SELECT current_user",
        sslmode="verify-full",
        sslrootcert=str(certificates.ca_path),
        sslcert=str(certificates.client_certificate_path),
        sslkey=str(certificates.client_key_path),
    ) == [("certuser",)]


def test_pgbouncer_shares_few_server_connections_among_many_clients(pgbouncer: PgBouncer, pgbouncer_url: str) -> None:
    """More clients than server connections: a client gets another backend from one transaction to the next."""
    clients = [psycopg.connect(pgbouncer_url, prepare_threshold=None) for _ in range(pgbouncer.pool_size * 3)]
    try:
        backends = set()
        for client in clients:
            with client.transaction():
                backends.add(client.execute("SELECT pg_backend_pid()").fetchone())
        assert len(backends) <= pgbouncer.pool_size
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_an_empty_mysql_database(mysql_url: str, round_: int) -> None:
    """What one test creates, the next doesn't see."""
    with connect_mysql(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE things (id int)")


def test_mysql_keeps_committed_rows_through_a_crash(own_mysql: MysqlServer) -> None:
    """SIGKILL and start: the same port, the same rows."""
    url = own_mysql.create_database()
    with connect_mysql(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE things (id int)")
        cursor.execute("INSERT INTO things VALUES (1)")
        own_mysql.kill()
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("SELECT 1")
    own_mysql.start()
    with connect_mysql(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM things")
        assert cursor.fetchall() == ((1,),)


def test_mysql_with_tls_refuses_plain_connections_and_verifies(
    mysql_tls_server: MysqlTlsServer, mysql_tls_url: str
) -> None:
    """Only TLS passes, and its certificate fits its host name."""
    with (
        connect_mysql(
            mysql_tls_url, ssl_ca=str(mysql_tls_server.certificates.ca_path), ssl_verify_identity=True
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]
    # 1045 access denied (MariaDB), 3159 secure transport required (MySQL)
    with pytest.raises(pymysql.err.OperationalError, match=r"1045|3159"):
        connect_mysql(mysql_tls_url, ssl_disabled=True)


def test_mongo_has_transactions_and_an_unused_name(mongo_url: str, mongo_db_name: str) -> None:
    """The server is a replica set, and the database is empty."""
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(mongo_url, serverSelectionTimeoutMS=5000)
    with client:
        assert mongo_db_name not in client.list_database_names()
        with client.start_session() as session, session.start_transaction():
            client[mongo_db_name].things.insert_one({"a": 1}, session=session)
        assert client[mongo_db_name].things.count_documents({}) == 1


def test_mongo_comes_back_after_a_crash_with_its_data(own_mongo: MongoServer) -> None:
    """SIGKILL and start: the same port, the same documents."""
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(own_mongo.url, serverSelectionTimeoutMS=2000)
    with client:
        client.shop.things.insert_one({"a": 1})
        own_mongo.kill()
        with pytest.raises(pymongo.errors.ConnectionFailure):
            client.shop.things.find_one()
        own_mongo.start()
        assert client.shop.things.count_documents({}) == 1


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_an_empty_redis_database(redis_url: str, round_: int) -> None:
    """What one test stores, the next doesn't see."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("thing", "1")


def test_a_frozen_redis_answers_again_when_it_thaws(own_redis: RedisServer) -> None:
    """Frozen, it accepts and stays silent; thawed, it answers."""
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.3, retry=None) as client:
        own_redis.freeze()
        try:
            with pytest.raises(redis.TimeoutError):
                client.ping()
        finally:
            own_redis.thaw()
        assert client.ping()


def test_a_server_from_elsewhere_cannot_be_killed() -> None:
    """A test that would kill a server of the environment is told so."""
    with pytest.raises(ServerMissing, match="environment"):
        PostgresServer("postgresql://127.0.0.1/x", "18", "environment").kill()


def test_database_url_names_each_database_in_turn(database_url: str, request: pytest.FixtureRequest) -> None:
    """Every URL is one that SQLAlchemy and others know, without a driver name."""
    expected = {"postgres": "postgresql", "mysql": "mysql", "sqlite": "sqlite", "duckdb": "duckdb"}
    assert urlsplit(database_url).scheme == expected[request.node.callspec.params["database_url"]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as somebody else")
def test_programs_that_the_servers_account_cannot_read_are_copied(server_workspace: Workspace, tmp_path: Path) -> None:
    """A virtual environment below root's home is closed to the account that PostgreSQL must run as."""
    closed = tmp_path / "closed" / "installed"
    (closed / "bin").mkdir(parents=True)
    (closed / "bin" / "postgres").write_text("#!/bin/sh\necho ran\n")
    (closed / "bin" / "postgres").chmod(0o755)
    closed.parent.chmod(0o700)
    assert run(server_workspace, [str(server_workspace.reachable(closed) / "bin" / "postgres")]) == "ran\n"
