"""Typed errors through every driver: which one, with which constraint, columns and table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    event,
    insert,
    make_url,
    text,
)

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import (
    CheckViolation,
    DeadlockDetected,
    Disconnected,
    ExclusionViolation,
    ForeignKeyViolation,
    IntegrityViolation,
    InvalidValue,
    LockTimeout,
    NotNullViolation,
    ReadOnlyViolation,
    SqlError,
    StatementTimeout,
    UniqueViolation,
)
from svc_infra.db.sql.translate import translate, translating

metadata = MetaData()
parents = Table("parents", metadata, Column("id", Integer, primary_key=True, autoincrement=False))
children = Table(
    "children",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("email", String(20), nullable=False),
    Column("tenant", Integer),
    Column("parent_id", Integer, ForeignKey("parents.id", name="fk_children_parent")),
    UniqueConstraint("tenant", "email", name="uq_children_tenant_email"),
)

DRIVERS = ["postgresql+asyncpg", "postgresql+psycopg", "mysql+asyncmy", "mysql+aiomysql"]


@pytest.fixture(scope="module", params=DRIVERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with two tables and a row in each, for all tests: a violation leaves nothing behind."""
    kind = "postgres_server" if request.param.startswith("postgresql") else "mysql_server"
    server = request.getfixturevalue(kind)
    plain = server.create_database()
    url = request.param + plain[plain.index("://") :]

    async def prepare() -> None:
        async with Database(url) as database, database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(text("ALTER TABLE children ADD CONSTRAINT ck_children_tenant CHECK (tenant > 0)"))
            await connection.execute(insert(parents).values(id=1))
            await connection.execute(insert(children).values(id=1, email="a", tenant=1, parent_id=1))

    asyncio.run(prepare())
    yield url
    server.drop_database(plain)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The database, through each driver of PostgreSQL and MySQL in turn."""
    async with Database(url) as database:
        yield database


async def violation(database: Database, statement: str) -> IntegrityViolation:
    """Run a statement of its own and return the violation that it causes, the table being known."""
    with pytest.raises(IntegrityViolation) as caught:  # noqa: PT012
        async with database.session() as session:
            with translating(table=children):  # as a repository does, which knows its table
                await session.execute(text(statement))
    assert caught.value.__cause__ is not None
    assert not type(caught.value.__cause__).__module__.startswith("sqlalchemy")
    return caught.value


async def test_a_unique_violation_tells_its_constraint_and_columns(database: Database) -> None:
    """Name, columns and table of the unique constraint are known, whichever of them the database tells."""
    error = await violation(database, "INSERT INTO children VALUES (2, 'a', 1, 1)")
    assert isinstance(error, UniqueViolation)
    assert error.constraint == "uq_children_tenant_email"
    assert error.columns == ("tenant", "email")
    assert error.table == "children"
    assert str(error) == "children.tenant, email: another row has the same value"


async def test_a_session_tells_the_columns_as_well(database: Database) -> None:
    """A statement of SQLAlchemy in a session needs no help to tell the columns."""
    with pytest.raises(UniqueViolation) as caught:
        async with database.session() as session:
            await session.execute(insert(children).values(id=2, email="a", tenant=1))
    assert (caught.value.columns, caught.value.table) == (("tenant", "email"), "children")


async def test_a_primary_key_violation_tells_its_column(database: Database) -> None:
    """A duplicate key names the key's column."""
    error = await violation(database, "INSERT INTO children VALUES (1, 'b', 1, 1)")
    assert isinstance(error, UniqueViolation)
    assert error.columns == ("id",)


async def test_a_missing_value_tells_its_column(database: Database) -> None:
    """NULL in a column that needs a value, given or left out."""
    for statement in (
        "INSERT INTO children VALUES (2, NULL, 1, 1)",
        "INSERT INTO children (id, tenant) VALUES (2, 1)",
    ):
        error = await violation(database, statement)
        assert isinstance(error, NotNullViolation)
        assert error.columns == ("email",)


async def test_a_foreign_key_violation_tells_its_constraint(database: Database) -> None:
    """A row that refers to nothing, and one that is referred to."""
    error = await violation(database, "INSERT INTO children VALUES (2, 'b', 1, 9)")
    assert isinstance(error, ForeignKeyViolation)
    assert error.constraint == "fk_children_parent"
    assert error.columns == ("parent_id",)
    error = await violation(database, "DELETE FROM parents")
    assert isinstance(error, ForeignKeyViolation)
    assert error.constraint == "fk_children_parent"


async def test_a_check_violation_tells_its_constraint(database: Database) -> None:
    """A value that a CHECK refuses."""
    error = await violation(database, "INSERT INTO children VALUES (2, 'b', -1, 1)")
    assert isinstance(error, CheckViolation)
    assert error.constraint == "ck_children_tenant"


async def test_a_value_that_does_not_fit_is_an_invalid_value(database: Database) -> None:
    """A text that is too long and a number that is too large."""
    for statement in (
        f"INSERT INTO children VALUES (2, '{'x' * 21}', 1, 1)",
        "INSERT INTO children VALUES (99999999999, 'b', 1, 1)",
    ):
        with pytest.raises(InvalidValue):
            async with database.session() as session:
                await session.execute(text(statement))


async def test_wrong_credentials_are_disconnected(url: str) -> None:
    """A password that the server refuses is a `Disconnected` without the password, that says where and why."""
    wrong = make_url(url).set(password="wrong-Password-1")
    async with Database(wrong) as refused:
        with pytest.raises(Disconnected) as caught:
            await refused.ping(10)
    assert "wrong-Password-1" not in repr(caught.value)
    told = str(caught.value)
    assert f"can't connect to {wrong.host}:{wrong.port}/{wrong.database}: " in told
    assert any(words in told for words in ("authentication failed", "Access denied"))


async def test_a_syntax_error_is_left_alone(database: Database) -> None:
    """What is no condition of the database but a mistake of the program is not translated."""
    with pytest.raises(Exception, match="SELEC") as caught:
        async with database.session() as session:
            await session.execute(text("SELEC 1"))
    assert not isinstance(caught.value, SqlError)


async def test_a_connection_that_is_lost_while_it_is_set_up_is_disconnected(postgres_url: str) -> None:
    """SQLAlchemy sets a new connection of asyncpg up without wrapping errors; they are typed nevertheless."""
    async with Database(postgres_url) as database:

        def cut(dbapi_connection: Any, _record: object) -> None:
            dbapi_connection.driver_connection.terminate()

        event.listen(database.engine.sync_engine, "connect", cut, insert=True)
        with pytest.raises(Disconnected) as caught:
            async with database.session() as session:
                await session.execute(text("SELECT 1"))
    assert getattr(caught.value.__cause__, "sqlstate", None) == "08003"


async def test_an_exclusion_violation_is_typed(postgres_url: str) -> None:
    """PostgreSQL's exclusion constraints have their own error."""
    async with Database(postgres_url) as database:
        async with database.session() as session:
            await session.execute(
                text("CREATE TABLE stays (days int4range, CONSTRAINT ex_stays EXCLUDE USING gist (days WITH &&))")
            )
            await session.execute(text("INSERT INTO stays VALUES ('[1,5)')"))
        with pytest.raises(ExclusionViolation) as caught:
            async with database.session() as session:
                await session.execute(text("INSERT INTO stays VALUES ('[3,9)')"))
    assert caught.value.constraint == "ex_stays"


async def test_a_duplicate_within_one_transaction_is_a_unique_violation(duckdb_url: str) -> None:
    """DuckDB has other words for it than for one of a committed row, and tells of a concurrent one at commit."""
    async with Database(duckdb_url) as database:
        async with database.session() as session:
            await session.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY)"))
        with pytest.raises(UniqueViolation):  # noqa: PT012 (the whole block is the subject)
            async with database.session() as session:
                await session.execute(text("INSERT INTO things VALUES (1)"))
                await session.execute(text("INSERT INTO things VALUES (1)"))
        with pytest.raises(UniqueViolation):  # noqa: PT012 (the whole block is the subject)
            async with database.session() as first:
                await first.execute(text("INSERT INTO things VALUES (2)"))
                async with database.session() as second:
                    await second.execute(text("INSERT INTO things VALUES (2)"))


async def test_an_unusual_column_name_is_read(postgres_url: str) -> None:
    """Quoted names with blanks and quotes are read as they are; an expression has no columns."""
    async with Database(postgres_url) as database:
        async with database.session() as session:
            await session.execute(text('CREATE TABLE odd ("a "" b" integer, "c,d" integer, e text)'))
            await session.execute(text('CREATE UNIQUE INDEX uq_odd ON odd ("a "" b", "c,d")'))
            await session.execute(text("CREATE UNIQUE INDEX uq_lower ON odd (lower(e))"))
            await session.execute(text("INSERT INTO odd VALUES (1, 1, 'x')"))
        with pytest.raises(UniqueViolation) as caught:
            async with database.session() as session:
                await session.execute(text("INSERT INTO odd VALUES (1, 1, 'y')"))
        assert caught.value.columns == ('a " b', "c,d")
        with pytest.raises(UniqueViolation) as caught:
            async with database.session() as session:
                await session.execute(text("INSERT INTO odd VALUES (2, 2, 'X')"))
        assert (caught.value.columns, caught.value.constraint) == ((), "uq_lower")


async def test_a_value_that_sqlalchemy_refuses_is_an_invalid_value(sqlite_url: str) -> None:
    """A value that can't be bound, here a word outside an enumeration, is an `InvalidValue` too."""
    colours = Table("colours", MetaData(), Column("name", Enum("red", "green", name="colour", validate_strings=True)))
    async with Database(sqlite_url) as database:
        with pytest.raises(InvalidValue):
            async with database.session() as session:
                await session.execute(insert(colours).values(name="blue"))


def test_errors_of_mssql_python_are_told_by_their_state() -> None:
    """mssql-python's errors, raised by its own mapping from SQLSTATE, with the texts of SQL Server."""
    exceptions = pytest.importorskip("mssql_python.exceptions")
    cases: list[tuple[str, str, type[SqlError], str | None, tuple[str, ...]]] = [
        (
            "23000",
            "Violation of UNIQUE KEY constraint 'uq_a'. Cannot insert duplicate key",
            UniqueViolation,
            "uq_a",
            (),
        ),
        ("23000", "Violation of PRIMARY KEY constraint 'pk_a'. Cannot insert", UniqueViolation, "pk_a", ()),
        (
            "23000",
            "Cannot insert duplicate key row in object 'dbo.a' with unique index 'ix_a'.",
            UniqueViolation,
            "ix_a",
            (),
        ),
        ("23000", "Cannot insert the value NULL into column 'e', table 'db.dbo.a';", NotNullViolation, None, ("e",)),
        (
            "23000",
            'The INSERT statement conflicted with the FOREIGN KEY constraint "fk_a".',
            ForeignKeyViolation,
            "fk_a",
            (),
        ),
        (
            "23000",
            'The DELETE statement conflicted with the REFERENCE constraint "fk_a".',
            ForeignKeyViolation,
            "fk_a",
            (),
        ),
        ("23000", 'The INSERT statement conflicted with the CHECK constraint "ck_a".', CheckViolation, "ck_a", ()),
        ("23000", "Etwas anderes", IntegrityViolation, None, ()),
        ("23000", 'Verletzung der UNIQUE KEY-Einschränkung "uq_a".', UniqueViolation, "uq_a", ()),
        (
            "23000",
            "Der Wert NULL kann in die Spalte 'e', Tabelle 'db.dbo.a' nicht eingefügt werden.",
            NotNullViolation,
            None,
            ("e",),
        ),
        (
            "23000",
            'Die INSERT-Anweisung steht in Konflikt mit der FOREIGN KEY-Einschränkung "fk_a".',
            ForeignKeyViolation,
            "fk_a",
            (),
        ),
        ("40001", "Transaction was deadlocked", DeadlockDetected, None, ()),
        ("08S01", "Communication link failure", Disconnected, None, ()),
        ("HYT00", "Query timeout expired", StatementTimeout, None, ()),
        ("HY008", "Operation canceled", StatementTimeout, None, ()),
        ("22001", "String data, right truncation", InvalidValue, None, ()),
    ]
    for state, message, kind, constraint, columns in cases:
        driver_error = exceptions.sqlstate_to_exception(state, f"[Microsoft][ODBC Driver][SQL Server]{message}")
        error = translate(driver_error)
        assert error is not None
        assert type(error) is kind, (state, message)
        assert error.__cause__ is driver_error
        if isinstance(error, IntegrityViolation):
            assert (error.constraint, error.columns) == (constraint, columns)


def test_a_name_in_a_message_is_looked_up_in_the_model() -> None:
    """Where the driver drops SQL Server's number and the message has no SQL keyword, the constraint's name decides."""
    exceptions = pytest.importorskip("mssql_python.exceptions")
    told = 'Zeile mit doppeltem Schlüssel im Objekt "dbo.things" mit dem eindeutigen Index "ix_things_email".'
    things = Table("things", MetaData(), Column("email", String(20)), Index("ix_things_email", "email", unique=True))
    driver_error = exceptions.sqlstate_to_exception("23000", told)
    error = translate(driver_error, table=things)
    assert isinstance(error, UniqueViolation)
    assert (error.constraint, error.columns, error.table) == ("ix_things_email", ("email",), "things")
    assert type(translate(driver_error)) is IntegrityViolation


def test_errors_of_pyodbc_are_told_by_their_number() -> None:
    """Pyodbc's errors, of which aioodbc's are, end with the number of SQL Server's error."""
    head = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
    cases: list[tuple[str, str, type[SqlError], str | None]] = [
        (
            "23000",
            "Doppelter Wert: 'dbo.a', 'ix_a'. (2601) (SQLExecDirectW); [01000] x (3621)",
            UniqueViolation,
            "ix_a",
        ),
        ("23000", "Violation of UNIQUE KEY constraint 'uq_a'. (2627) (SQLExecDirectW)", UniqueViolation, "uq_a"),
        ("23000", 'conflicted with the CHECK constraint "ck_a". (547) (SQLExecDirectW)', CheckViolation, "ck_a"),
        ("23000", "Spalte 'e', Tabelle 'db.dbo.a' (515) (SQLExecDirectW)", NotNullViolation, None),
        ("40001", "deadlock victim (1205) (SQLExecDirectW)", DeadlockDetected, None),
        ("42000", "Lock request time out period exceeded. (1222) (SQLExecDirectW)", LockTimeout, None),
        ("42000", "the database is read-only. (3906) (SQLExecDirectW)", ReadOnlyViolation, None),
        ("HYT00", "Query timeout expired (0) (SQLExecDirectW)", StatementTimeout, None),
        ("08S01", "Communication link failure (10054) (SQLExecDirectW)", Disconnected, None),
    ]
    error_class = type(
        "Error", (Exception,), {"__module__": "pyodbc"}
    )  # importing pyodbc needs a library of the system
    for state, message, kind, constraint in cases:
        error = translate(error_class(state, f"[{state}] {head}{message}"))
        assert type(error) is kind, message
        assert getattr(error, "constraint", None) == constraint


def test_errors_of_snowflake_are_told_by_number_and_state() -> None:
    """Snowflake's errors by their number, else by their SQLSTATE."""
    errors = pytest.importorskip("snowflake.connector.errors")
    cases: list[tuple[int, str | None, type[SqlError]]] = [
        (100072, "22000", NotNullViolation),
        (200001, "22000", UniqueViolation),
        (630, "57014", StatementTimeout),
        (604, "57014", StatementTimeout),
        (625, "57014", LockTimeout),
        (250001, "08001", Disconnected),
        (390100, "08001", Disconnected),
        (100078, "22000", InvalidValue),
    ]
    for number, state, kind in cases:
        driver_error = errors.ProgrammingError("message", errno=number, sqlstate=state)
        assert type(translate(driver_error)) is kind, number
    assert translate(errors.ProgrammingError("compilation error", errno=1003, sqlstate="42000")) is None


def test_an_error_of_the_application_is_left_alone() -> None:
    """Only errors of databases are translated: a network error of the application stays its own."""
    assert translate(ConnectionRefusedError("an API of somebody else")) is None
    assert translate(ValueError("x")) is None
    own = UniqueViolation("x")
    assert translate(own) is own
