"""`SqlSessionDep`: one transaction per request, committed before the response leaves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import ForeignKey, String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    balance: Mapped[int]


class Note(Base):
    __tablename__ = "transaction_notes"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class Entry(Base):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", deferrable=True, initially="DEFERRED"))


def bank(url: str) -> FastAPI:
    app = FastAPI()
    add_sql_db(app, url=url)

    @app.post("/accounts/{account_id}")
    async def open_account(account_id: str, session: SqlSessionDep) -> dict[str, str]:
        session.add(Account(id=account_id, balance=100))
        return {"status": "ok"}

    @app.post("/transfer")
    async def transfer(from_id: str, to_id: str, amount: int, session: SqlSessionDep) -> dict[str, str]:
        from_account = await session.get(Account, from_id)
        assert from_account is not None
        from_account.balance -= amount
        await session.flush()
        to_account = await session.get(Account, to_id)
        if to_account is None:
            raise HTTPException(404, "no such account")
        to_account.balance += amount
        return {"status": "ok"}

    @app.post("/fail")
    async def fail(session: SqlSessionDep) -> None:
        session.add(Account(id="lost", balance=1))
        await session.flush()
        raise RuntimeError("after the write")

    @app.post("/entries/{account_id}")
    async def add_entry(account_id: str, session: SqlSessionDep) -> dict[str, str]:
        session.add(Entry(account_id=account_id))
        await session.flush()
        return {"status": "ok"}

    @app.post("/slow")
    async def slow(session: SqlSessionDep) -> None:
        session.add(Account(id="cancelled", balance=1))
        await session.flush()
        app.state.reached.set()
        await asyncio.sleep(60)

    @app.get("/balance/{account_id}")
    async def balance(account_id: str, session: SqlSessionDep) -> int | None:
        found: int | None = await session.scalar(select(Account.balance).where(Account.id == account_id))
        return found

    return app


async def stored(app: FastAPI, model: type[Base]) -> int:
    async with get_database(app).session() as session:
        return int(await session.scalar(select(func.count()).select_from(model)) or 0)


@pytest.fixture
async def app(sql_url: str) -> FastAPI:
    return bank(sql_url)


async def test_a_successful_request_is_committed(app: FastAPI, served: ClientOf, make_tables: MakeTables) -> None:
    """What a request wrote is there for the next one."""
    client = await served(app)
    await make_tables(app, Base)
    assert (await client.post("/accounts/a")).status_code == 200
    assert (await client.get("/balance/a")).json() == 100


async def test_a_duplicate_that_only_the_commit_finds_is_no_success(
    app: FastAPI, served: ClientOf, make_tables: MakeTables
) -> None:
    """The guide's create example: the row is flushed at commit, and its failure must reach the client."""
    client = await served(app)
    await make_tables(app, Base)
    await client.post("/accounts/a")
    answer = await client.post("/accounts/a")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:svc-infra:problem:unique-violation"


async def test_a_deferred_foreign_key_that_fails_at_commit_is_no_success(
    app: FastAPI, served: ClientOf, make_tables: MakeTables
) -> None:
    """Only COMMIT checks a deferred constraint; the response must not have left by then."""
    client = await served(app)
    await make_tables(app, Base)
    answer = await client.post("/entries/nobody")
    assert answer.status_code == 409
    assert await stored(app, Entry) == 0


async def test_an_http_exception_rolls_back(app: FastAPI, served: ClientOf, make_tables: MakeTables) -> None:
    """Half of a transfer is never kept."""
    client = await served(app)
    await make_tables(app, Base)
    await client.post("/accounts/a")
    answer = await client.post("/transfer", params={"from_id": "a", "to_id": "nobody", "amount": 10})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "no such account"}
    assert (await client.get("/balance/a")).json() == 100


async def test_both_halves_of_a_transfer_are_kept(app: FastAPI, served: ClientOf, make_tables: MakeTables) -> None:
    """Two writes of one request are one transaction."""
    client = await served(app)
    await make_tables(app, Base)
    for name in "ab":
        await client.post(f"/accounts/{name}")
    answer = await client.post("/transfer", params={"from_id": "a", "to_id": "b", "amount": 10})
    assert answer.json() == {"status": "ok"}
    assert [(await client.get(f"/balance/{name}")).json() for name in "ab"] == [90, 110]


async def test_an_exception_rolls_back(app: FastAPI, running: ClientOf, make_tables: MakeTables) -> None:
    """A bug after a write leaves nothing of the write."""
    client = await running(app)
    await make_tables(app, Base)
    assert (await client.post("/fail")).status_code == 500
    assert await stored(app, Account) == 0


async def test_a_cancelled_request_rolls_back_and_returns_its_connection(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A client that went away leaves no row and takes no connection with it."""
    app = bank(sql_url)
    app.state.reached = asyncio.Event()
    client = await running(app)
    await make_tables(app, Base)
    request = asyncio.create_task(client.post("/slow"))
    await asyncio.wait_for(app.state.reached.wait(), 5)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await stored(app, Account) == 0
    assert get_database(app).engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_two_parameters_share_one_session(sql_url: str, running: ClientOf) -> None:
    """A guard and its endpoint work in the same transaction."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)
    seen: list[AsyncSession] = []

    @app.get("/")
    async def endpoint(first: SqlSessionDep, second: SqlSessionDep) -> bool:
        seen.extend([first, second])
        return first is second

    assert (await (await running(app)).get("/")).json() is True


async def test_an_id_that_is_none_is_the_clients_mistake(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A text for a `Uuid` is refused by the driver or by SQLAlchemy's type, in a route of one's own: 422, not 500."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)

    @app.get("/notes/{note_id}")
    async def read(note_id: str, session: SqlSessionDep) -> dict[str, bool]:
        return {"found": await session.get(Note, note_id) is not None}

    client = await running(app)
    await make_tables(app, Base)
    answer = await client.get("/notes/not-a-uuid")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:svc-infra:problem:invalid-value")
