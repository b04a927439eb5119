"""Session Management: one transaction per request, committed before the response leaves; statement timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from myapp.models import Account, User
from myapp.schemas import UserCreate
from serving import served
from sqlalchemy import func, select, text

from svc_infra.api.fastapi.db.sql.add import add_sql_db
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.db.sql.database import Database

# The guide's `data.dict()`; Pydantic 2 calls it model_dump() and still has the old name.
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")


def make_app() -> FastAPI:
    app = FastAPI()
    add_sql_db(app)

    @app.post("/users")
    async def create_user(data: UserCreate, session: SqlSessionDep):
        user = User(**data.dict())
        session.add(user)
        # Auto-commits on success, rolls back on exception
        return user

    @app.post("/transfer")
    async def transfer(from_id: str, to_id: str, amount: int, session: SqlSessionDep):
        # Both operations in same transaction
        from_account = await session.get(Account, from_id)
        from_account.balance -= amount
        to_account = await session.get(Account, to_id)
        to_account.balance += amount
        # Commits together or rolls back together
        return {"status": "ok"}

    @app.post("/refused")
    async def refused(session: SqlSessionDep):
        session.add(Account(id="refused", balance=1))
        await session.flush()
        raise HTTPException(status_code=402, detail="no money")

    @app.post("/accounts/{account_id}")
    async def open_account(account_id: str, session: SqlSessionDep):
        session.add(Account(id=account_id, balance=0))
        return {"id": account_id}

    return app


async def balances() -> dict[str, int]:
    async with Database() as database, database.session() as session:
        rows = await session.execute(select(Account.id, Account.balance).order_by(Account.id))
        return {row.id: row.balance for row in rows}


async def open_accounts() -> None:
    async with Database() as database, database.session() as session:
        session.add_all([Account(id="a", balance=100), Account(id="b", balance=0)])


async def test_a_request_that_succeeds_is_committed(sql_url: str) -> None:
    """The response holds the new row, and another connection sees it."""
    with served(make_app()) as client:
        response = client.post("/users", json={"email": "ada@example.com", "name": "Ada"})
    assert response.status_code == 200
    assert response.json()["email"] == "ada@example.com"
    async with Database() as database, database.session() as session:
        assert (await session.execute(select(User.name))).scalar_one() == "Ada"


async def test_the_transfer_moves_money_once(sql_url: str) -> None:
    """Both balances change together."""
    await open_accounts()
    with served(make_app()) as client:
        response = client.post("/transfer", params={"from_id": "a", "to_id": "b", "amount": 30})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert await balances() == {"a": 70, "b": 30}


async def test_a_transfer_that_fails_half_way_changes_nothing(sql_url: str) -> None:
    """The second account doesn't exist: the first keeps its money and the client hears of it."""
    await open_accounts()
    with served(make_app()) as client:
        response = client.post("/transfer", params={"from_id": "a", "to_id": "nobody", "amount": 30})
    assert response.status_code == 500
    assert await balances() == {"a": 100, "b": 0}


async def test_an_http_exception_rolls_back(sql_url: str) -> None:
    """The status is the route's own, and what it had flushed is gone."""
    with served(make_app()) as client:
        response = client.post("/refused")
    assert (response.status_code, response.json()["detail"]) == (402, "no money")
    assert await balances() == {}


async def test_a_duplicate_that_the_commit_finds_is_a_conflict(sql_url: str) -> None:
    """The route returns before the database refuses the row; the client still reads 409."""
    with served(make_app()) as client:
        assert client.post("/accounts/a").status_code == 200
        response = client.post("/accounts/a")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert await balances() == {"a": 0}


DEFERRED = """
CREATE TABLE orders (id int PRIMARY KEY, account_id varchar(64) REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)
"""


async def test_a_deferred_foreign_key_is_an_error_response_never_a_200(postgres_app_url: str) -> None:
    """PostgreSQL checks it at COMMIT, after the route returned and before the response leaves."""
    app = make_app()

    @app.post("/orders/{account_id}")
    async def order(account_id: str, session: SqlSessionDep):
        await session.execute(text("INSERT INTO orders VALUES (1, :account)"), {"account": account_id})
        return {"status": "ok"}

    async with Database() as database, database.session() as session:
        await session.execute(text(DEFERRED))
    with served(app) as client:
        response = client.post("/orders/nobody")
        assert response.status_code == 409
        assert "ok" not in response.text
        client.post("/accounts/a")
        assert client.post("/orders/a").status_code == 200
    async with Database() as database, database.session() as session:
        assert (await session.execute(text("SELECT account_id FROM orders"))).scalars().all() == ["a"]


async def test_a_cancelled_request_rolls_back_and_gives_its_connection_back(postgres_app_url: str) -> None:
    """The task of a request is cancelled while its statement runs: nothing stays, and no connection is lost."""
    app = make_app()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[object]]] = []

    @app.post("/slow")
    async def slow(session: SqlSessionDep):
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        session.add(Account(id="slow", balance=1))
        await session.flush()
        await session.execute(text("SELECT pg_sleep(30)"))
        return {"status": "ok"}

    with served(app) as client:
        request = asyncio.create_task(asyncio.to_thread(client.post, "/slow"))
        await until(lambda count: count == 1)
        loop, task = running[0]
        loop.call_soon_threadsafe(task.cancel)
        with contextlib.suppress(httpx.TransportError):  # the server may also drop the connection without an answer
            assert (await asyncio.wait_for(request, 60)).status_code >= 500
        await until(lambda count: count == 0)
        # Every connection of the pool still works.
        for number in range(20):
            assert client.post(f"/accounts/{number}").status_code == 200
    assert "slow" not in await balances()


async def until(condition: Callable[[int], bool]) -> None:
    """Wait until the number of sleeping statements is as wanted."""
    async with asyncio.timeout(60):
        while not condition(await sleeping()):  # noqa: ASYNC110 - only the server can be asked
            await asyncio.sleep(0.02)


async def sleeping() -> int:
    """How many statements sleep in this database."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE '%pg_sleep%' AND state <> 'idle' AND pid <> pg_backend_pid() AND datname = current_database()
    """
    async with Database() as database, database.session() as session:
        return int((await session.execute(text(query))).scalar_one())


async def statement_timeout(session: SqlSessionDep) -> str:
    return str((await session.execute(text("SHOW statement_timeout"))).scalar_one())


async def test_every_transaction_has_the_configured_statement_timeout(
    postgres_app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DB_STATEMENT_TIMEOUT_MS=30000 in each transaction; what SET LOCAL says in one is gone after it."""
    monkeypatch.setenv("DB_STATEMENT_TIMEOUT_MS", "30000")
    async with Database(pool_size=1, max_overflow=0) as database:
        for _ in range(2):
            async with database.session() as session:
                assert await statement_timeout(session) == "30s"
        async with database.session(statement_timeout_ms=1500) as session:
            assert await statement_timeout(session) == "1500ms"
        # The connection itself keeps the database's limit, for statements that run without a transaction.
        async with database.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            assert await raw.driver_connection.fetchval("SHOW statement_timeout") == "30s"


async def test_a_background_job_sets_its_own_statement_timeout(
    postgres_app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes by the guide's statement, for that transaction alone."""
    monkeypatch.setenv("DB_STATEMENT_TIMEOUT_MS", "30000")
    async with Database(pool_size=1, max_overflow=0) as database:
        async with database.session() as session:
            await session.execute(text("SET LOCAL statement_timeout = 300000"))
            assert await statement_timeout(session) == "5min"
        async with database.session() as session:
            assert await statement_timeout(session) == "30s"


async def test_a_runaway_query_is_cut_and_the_client_hears_of_it(
    postgres_app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request ends soon after its limit with an error response, not with a 200."""
    monkeypatch.setenv("DB_STATEMENT_TIMEOUT_MS", "200")
    app = make_app()

    @app.get("/report")
    async def report(session: SqlSessionDep):
        await session.execute(text("SELECT pg_sleep(30)"))
        return {"status": "ok"}

    begin = time.monotonic()
    with served(app) as client:
        response = client.get("/report")
    assert response.status_code in {503, 504}
    assert time.monotonic() - begin < 10


async def test_all_users_of_one_request_share_its_transaction(sql_url: str) -> None:
    """Two dependencies of a route that ask for a session get the same one."""
    app = make_app()

    @app.get("/same")
    async def same(one: SqlSessionDep, two: SqlSessionDep):
        return one is two

    with served(app) as client:
        assert client.get("/same").json() is True


async def test_many_requests_at_once_each_have_a_transaction_of_their_own(sql_url: str) -> None:
    """Fifty requests in parallel leave fifty rows, no more and no fewer."""
    with served(make_app()) as client, ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(lambda number: client.post(f"/accounts/{number}"), range(50)))
    assert {response.status_code for response in responses} == {200}
    async with Database() as database, database.session() as session:
        assert (await session.execute(select(func.count()).select_from(Account))).scalar_one() == 50
